"""What INT8 files answer in the arithmetic that they describe, whatever an engine's kernels make of it."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.cell.accuracy import sample_rows, sqnr
from dlcompare.inference.cell.files import PREDICTIONS
from dlcompare.inference.cell.request import PREDICT_BATCH
from dlcompare.inference.onnx.export import content_sha256
from dlcompare.inference.precision.samples import Samples

from .weight_bits import Done

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray]
Json = dict[str, Any]


class Preparation(Protocol):
    """What trials need of a run's preparation."""

    samples: Samples

    @property
    def inputs(self) -> Mapping[str, Input]: ...

    def blank(self, engine: Engine, **more: Any) -> InferenceJob: ...

    def job(self, job: InferenceJob, file: Path | None) -> InferenceJob: ...

    def do(self, job: InferenceJob, label: str) -> Done: ...


@dataclass(frozen=True)
class Exact:
    """Runs files over the samples held for judging; ``known`` are answers by the hash of a file's content."""

    preparation: Preparation
    known: dict[str, np.ndarray] = field(default_factory=dict)

    def answers(self, files: Mapping[str, Path], label: str) -> dict[str, np.ndarray]:
        """Return by name the answers of some files, each a row for every sample.

        Raises:
            JobError: there are no samples or no engine, or a file could not be run.
        """
        hashes = {name: content_sha256(file) for name, file in files.items()}
        new = {name: str(file) for name, file in files.items() if hashes[name] not in self.known}
        if new:
            found = self.run(new, hashlib.sha256("".join(hashes[name] for name in new).encode()).hexdigest(), label)
            for name in new:
                own = {key.removeprefix(f"{name}/"): value for key, value in found.items()
                       if key.startswith(f"{name}/")}
                self.known[hashes[name]] = rows(own, self.preparation.inputs)
        return {name: self.known[sha256] for name, sha256 in hashes.items()}

    def run(self, files: Mapping[str, str], sha256: str, label: str) -> Arrays:
        """Return all outputs of some files, by NAME/OUTPUT."""
        engine = next((one for one in plugins().engines().values() if one.exact), None)
        if engine is None:
            raise JobError("no engine on offer computes an INT8 file exactly as it is written")
        job = dataclasses.replace(held(self.preparation, engine, None, task="trials"), cache=None, device="cpu")
        return outputs(self.preparation, dataclasses.replace(job, files=files, sha256=sha256), label)


def held(preparation: Preparation, engine: Engine, file: Path | None, *, count: int | None = None,
         **more: Any) -> InferenceJob:
    """Return a job of an engine over the samples held for judging; JobError if there are none."""
    samples = preparation.samples
    if not samples.held:
        raise JobError("there are no real samples to judge INT8 by")
    job = preparation.job(preparation.blank(engine, **{"precision": "int8", "batch": PREDICT_BATCH, **more}), file)
    return dataclasses.replace(job, samples=samples.held[:count], train=samples.calibration_train,
                               cache=None if count else job.cache)  # what few samples look at is not built again


def outputs(preparation: Preparation, job: InferenceJob, label: str) -> Arrays:
    """Return the outputs that a job writes; JobError if it fails."""
    import numpy as np

    done = preparation.do(job, label)
    if done.reason:
        raise JobError(done.reason)
    with np.load(done.folder / PREDICTIONS) as found:
        return {name.removeprefix("output/"): found[name] for name in found if not name.startswith("label/")}


def rows(found: Mapping[str, np.ndarray], inputs: Mapping[str, Input]) -> np.ndarray:
    """Return the outputs that answer beside one another, a row for each sample: those that labels of positions are for
    (``start`` of ``start_positions``), where there are such, else all."""
    heads = {name.partition("_")[0] for name, spec in inputs.items() if spec.role == "position"} or {*found}
    return sample_rows({name: found[name] for name in sorted(heads)})


def score(reference: np.ndarray, found: np.ndarray) -> Json:
    """Return how near answers come to the reference's: ``agreement`` and ``sqnr_db``, as in accuracy."""
    import numpy as np

    same = reference.argmax(axis=1) == found.argmax(axis=1)
    return {"agreement": float(np.mean(same)), "sqnr_db": sqnr(reference, found)}


def decibels(found: float | None) -> float:
    """Return a ratio of signal to noise to be compared with others: none is no noise, and no number all of it."""
    return math.inf if found is None else -math.inf if math.isnan(found) else found
