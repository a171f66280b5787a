"""Every training framework's own ``predict`` as an engine: what does an engine buy me over my framework?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.graph.model import Model

from .backend import Backend
from .engine import Engine, Ran, Session
from .inference_job import InferenceJob
from .job import Job
from .runtime import EnvironmentSpec

if TYPE_CHECKING:
    from .backend import Arrays, Trainer


class FrameworkEngine(Engine):
    """A backend as an engine. It builds the network from the neutral graph, as for training, and only predicts."""

    reads = "graph"

    def __init__(self, backend: Backend, model: Callable[[str], Model]) -> None:
        self.backend, self.model = backend, model
        self.name = backend.name  # type: ignore[misc]  # one class, an instance for each backend
        self.title = f"{backend.name}'s own predict"  # type: ignore[misc]
        self.devices = backend.devices  # type: ignore[misc]
        self.precisions = tuple(p for p in backend.precisions if p != "tf32")  # type: ignore[misc]

    def environment(self, device: str) -> EnvironmentSpec | None:
        return self.backend.environment(device)

    def refuse(self, job: InferenceJob) -> str | None:
        if job.task == "scenario":
            return (f"{self.name} has no load generator of MLPerf's in its environment, which is for training; leave "
                    "--scenario out, or use an inference engine")
        if job.precision == "int8":
            return f"{self.name} trains, and infers in {', '.join(self.precisions)}; INT8 is for inference engines"
        if not job.weights:
            return f"{self.name} runs networks of dlcompare's own, not an ONNX file; use an inference engine"
        return super().refuse(job) or self.backend.refuse(training(job))

    def command(self, job: Any, python: str) -> list[str]:
        return self.backend.command(training(job), python)

    def variables(self, job: Any) -> dict[str, str]:
        return self.backend.variables(training(job))

    def load(self) -> None:
        self.backend.load()

    def open(self, job: InferenceJob, folder: Path) -> Session:
        from dlcompare.core.graph.params import read_weights

        graph = self.model(job.model).graph(job.image_size, job.classes)
        params = read_weights(str(job.weights), graph)
        return FrameworkSession(job, self.backend.trainer(graph, params, training(job)))


def training(job: InferenceJob) -> Job:
    """Return the training job whose trainer predicts."""
    return Job(framework=job.engine, model=job.model, data=job.data, device=job.device, precision=job.precision,
               batch=job.batch, image_size=job.image_size, classes=job.classes, threads=job.threads, seed=job.seed)


class FrameworkSession(Session):
    """A trainer's ``predict``: copies to and from the device are part of a run."""

    def __init__(self, job: InferenceJob, trainer: Trainer) -> None:
        self.job, self.trainer = job, trainer
        self.results: Arrays = {}

    def run(self, placed: Arrays) -> None:
        self.results = self.trainer.predict(placed)

    def fetch(self) -> Arrays:
        return {name: self.results[name] for name in self.job.outputs}

    def ran(self) -> Ran:
        return Ran(self.job.precision, 0)

    def settings(self) -> dict[str, Any]:
        return {**self.trainer.settings(), "copies": "within a run", "threads": self.job.threads}

    def versions(self) -> dict[str, str]:
        return self.trainer.versions()

    def peak_bytes(self) -> int | None:
        return self.trainer.peak_bytes()

    def device_ids(self) -> tuple[str, ...] | None:
        return self.trainer.device_ids()

    def close(self) -> None:
        self.trainer.close()
