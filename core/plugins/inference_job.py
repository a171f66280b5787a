"""An inference job: one frozen cell of the matrix engine x precision x batch, and all a worker is told."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.graph import Input

from .job import DEVICES

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TASKS = ("measure", "predict", "collect", "scenario", "probe")
SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "precision": PRECISIONS, "device": DEVICES, "task": TASKS, "scenario": (None, *SCENARIOS)}


@dataclass(frozen=True)
class InferenceJob:
    """One engine running one network at one precision and batch size.

    ``file`` is an ONNX file with the precision written into it, and ``sha256`` its content's hash,
    ``network_sha256`` that of the FP32 file it was made from; engines that read
    the neutral graph take ``model``, ``image_size`` and ``weights`` (safetensors) instead. ``inputs`` declares what
    the network reads, the label included, so that a dataset can be opened for it; ``outputs`` names what it returns.

    ``task``: ``measure`` takes windows at one batch size; ``predict`` writes the outputs for ``samples`` (indices into
    the split); ``collect`` writes what ``tensors`` hold over ``samples``; ``scenario`` runs one of MLPerf's;
    ``probe`` tells how near sums of INT8 products come to the exact ones, on a file made for that.
    """

    engine: str
    model: str
    file: str | None = None
    sha256: str | None = None
    network_sha256: str | None = None
    weights: str | None = None
    image_size: int | None = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    task: str = "measure"
    precision: str = "fp32"
    device: str = "cpu"
    batch: int = 1
    largest_batch: int = 1  # that the same build must also serve
    threads: int = 1
    windows: int = 5
    window_seconds: float = 1.0
    data: str = "synthetic"
    train: bool = False  # which split of the data
    samples: tuple[int, ...] = ()
    tensors: tuple[str, ...] = ()
    calibrator: str | None = None  # of the engine's own, which reads the FP32 file and these samples
    calibration: tuple[int, ...] = ()
    calibration_train: bool = True  # which split they are of
    loaders: int = 1
    seed: int = 0
    scenario: str | None = None
    seconds: float = 10.0  # a scenario's least duration
    latency: float = 0.015  # seconds, the bound of the server scenario
    cache: str | None = None  # folder where builds are kept
    port: ClassVar[int | None] = None  # no processes meet
    worker: ClassVar[str] = "dlcompare.inference.worker"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(name, str(getattr(self, name)), [value for value in allowed if value])
        for name in ("batch", "threads", "windows", "loaders"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def id(self) -> str:
        """Return the folder name of this job: readable, and unique within a plan."""
        digest = hashlib.sha256(self.to_json().encode()).hexdigest()[:6]
        return f"{self.engine}-{self.model}-{self.precision}-{self.task}-b{self.batch}-{digest}"

    def to_json(self) -> str:
        """Return the job as JSON text with sorted keys."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> InferenceJob:
        """Read what :meth:`to_json` wrote; UsageError lists the known keys when there is one it does not know."""
        data: dict[str, Any] = json.loads(text)
        known = [f.name for f in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise unknown("inference job key", key, known)
        data["inputs"] = {name: Input(**{**spec, "shape": tuple(spec["shape"])})
                          for name, spec in data.get("inputs", {}).items()}
        return cls(**{**data, **{k: tuple(data.get(k, ())) for k in ("outputs", "samples", "tensors", "calibration")}})
