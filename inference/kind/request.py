"""The matrix of an inference run: engine x precision x batch, with the reason for every cell that cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.plan.matrix import checked_data, from_anywhere
from dlcompare.core.plugins.inference_job import PRECISIONS, SCENARIOS
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.network import Source
from dlcompare.inference.precision.samples import PROTOCOLS

OWN = ("tensorrt-entropy2",)  # calibrators of engines, which read the FP32 file and the samples themselves
CALIBRATORS = ("entropy", "minmax", "percentile", "mse", *OWN)


@dataclass(frozen=True)
class InferencePlan:
    """What an inference run is to do. ``data`` None: what the network was trained on, or the model's usual data.

    ``measured`` bounds the samples that accuracy is taken on; ``floor`` is a share of FP32's; ``calibration`` the path
    of an artifact made before.
    """

    source: Source
    engines: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "int8")
    batches: tuple[int, ...] = (1, 8, 32)
    data: str | None = None
    device: str = "cpu"
    threads: int = 0
    windows: int = 5
    window_seconds: float = 1.0
    rounds: int = 1
    loaders: int = 1
    calibrator: str = "entropy"
    calibration_samples: int | None = None
    calibration: str | None = None
    protocol: str = "split"
    measured: int | None = None
    floor: float | None = None
    equalise: bool = False
    search: bool = False
    scenarios: tuple[str, ...] = ()
    scenario_seconds: float = 10.0
    latency: float = 0.015
    speed: bool = True
    accuracy: bool = True
    seed: int | None = None  # None: that of the training run, so that generated data are the same; else 0

    def __post_init__(self) -> None:
        for name, allowed in (("precisions", PRECISIONS), ("scenarios", SCENARIOS)):
            for value in getattr(self, name):
                among(name[:-1], value, allowed)
        among("calibrator", self.calibrator, CALIBRATORS)
        among("protocol", self.protocol, PROTOCOLS)
        if self.calibrator in OWN and (self.equalise or self.search or self.calibration):
            raise UsageError(f"--calibrate {self.calibrator} leaves ranges to the engine, so --equalise, --search and "
                             "--calibration have nothing to work on; leave them out, or use --calibrate entropy")
        if not self.precisions or not self.engines or not self.batches:
            raise UsageError("at least one engine, one precision and one batch size must be named")
        if min(self.batches) < 1:
            raise UsageError(f"a batch has at least 1 sample, not {min(self.batches)}")
        if self.floor is not None and not 0 < self.floor <= 1:
            raise UsageError(f"--accuracy-floor is a share of FP32's accuracy, above 0 and at most 1, not {self.floor}")

    def order(self, number: int) -> tuple[tuple[str, str, int], ...]:
        """Return engine, precision and batch of every cell in the order of a round: shuffled, then backwards."""
        cells = [(e, p, b) for e in self.engines for p in self.precisions for b in self.batches]
        if self.rounds > 1:
            random.Random(f"{self.seed} {number // 2}").shuffle(cells)
        return tuple(cells[::-1] if number % 2 else cells)

    def engine_calibrates(self, precision: str) -> bool:
        """Return whether a precision is INT8 whose ranges the engine itself finds."""
        return precision == "int8" and self.calibrator in OWN

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, default=str)

    @property
    def digest(self) -> str:
        """Return a hash of the whole plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def among(what: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UsageError if a value is not among those allowed."""
    if value not in allowed:
        raise UsageError(f"unknown {what} {value!r}; there is: {', '.join(allowed)}")


def usual_threads() -> int:
    """Return how many threads an engine gets if nobody says: all that this process may use."""
    return len(os.sched_getaffinity(0))


def data_for(plan: InferencePlan, trained_on: str | None, inputs: Mapping[str, Any]) -> str:
    """Return the dataset of a run, checked against what the network reads, with any path made absolute.

    Raises:
        UsageError: the network cannot read it, or there is none for a user's own file.
    """
    from dlcompare.core.graph import Graph

    data = plan.data or trained_on
    if data is None and plan.source.model:
        data = plugins().model(plan.source.model).data
    if data is None:
        raise UsageError("--data must be given: calibration and accuracy need samples that belong to the network, as "
                         "in --data imagefolder:PATH")
    return checked_data(plugins(), from_anywhere(data), Graph("", dict(inputs), (), {}))


def labelled(data: str) -> bool:
    """Return whether a dataset's samples are real: the labels of synthetic data are drawn at random."""
    return data.partition(":")[0] != "synthetic"
