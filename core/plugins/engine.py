"""The contract between dlcompare and an inference engine.

An engine has an outside (:class:`Engine`: importing and asking it never imports the engine's library; the parent uses
it) and an inside (:class:`Session`: lives in one worker process, in the engine's own environment). Precision lives in
the ONNX file that an engine is given; an engine says which one it really ran.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .inference_job import InferenceJob
from .runtime import Loaded, Runtime

if TYPE_CHECKING:
    from .backend import Arrays


@dataclass(frozen=True)
class Ran:
    """What a session really does with the layers that multiply matrices: Conv, Gemm, MatMul.

    ``precision`` is that of most of them; ``left`` names those that run in another one than was asked for. An engine
    that does not tell what it does says so by no ``layers``; its ``precision`` is what was asked for.
    """

    precision: str
    layers: int
    left: tuple[str, ...] = ()


class Engine(Runtime):
    """An inference engine, seen from outside."""

    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    scheme: ClassVar[str | None] = None  # how its INT8 files are written: u8s8, s8s8 (see inference.quantise)
    lowers: ClassVar[tuple[str, ...]] = ()  # precisions that it makes of the FP32 file by itself
    calibrators: ClassVar[tuple[str, ...]] = ()  # of its own: they read the FP32 file and the job's calibration samples
    collects: ClassVar[bool] = False  # whether it can return any inner tensor that a file declares as an output
    exact: ClassVar[bool] = False  # whether it runs an INT8 file node by node, in the file's own arithmetic
    reads: ClassVar[str] = "onnx"  # what it builds from: an ONNX file, or "graph": the neutral graph and parameters

    def refuse(self, job: InferenceJob) -> str | None:
        """Return why this job cannot run here, for people to read; None if it can."""
        if job.device not in self.devices:
            return f"{self.name} runs on {', '.join(self.devices)}, not on {job.device}"
        if job.precision not in self.precisions:
            return f"{self.name} offers {', '.join(self.precisions)}, not {job.precision}"
        if job.calibrator and job.calibrator not in self.calibrators:
            return f"{self.name} has no calibrator {job.calibrator}; use --calibrate auto, which serves every engine"
        return None

    def load(self) -> None:
        """Import the engine's library, in a worker; timed, as part of a cold start."""

    def identity(self, job: InferenceJob) -> dict[str, str]:
        """Return what a built engine depends on beside the job's file and settings, in a worker: versions, the GPU.

        A build is kept and loaded only where this is the same.
        """
        return {}

    def build(self, job: InferenceJob, folder: Path) -> None:
        """Build from ``job.file`` whatever :meth:`open` needs into an empty folder. Called inside a worker.

        Raises:
            JobError: the file holds what the engine cannot run; names the operator.
        """

    @abstractmethod
    def open(self, job: InferenceJob, folder: Path) -> Session:
        """Return a session on what :meth:`build` has left in the folder, ready to run. Called inside a worker.

        Raises:
            JobError: it was built by another version or for another device.
        """


class Session(Loaded):
    """A built engine, loaded by one process. A batch is input name -> array, first axis the batch."""

    def place(self, batch: Arrays) -> Any:
        """Copy a batch to the device and return when it is there; on a CPU as good as nothing."""
        return batch

    @abstractmethod
    def run(self, placed: Any) -> None:
        """Start on a placed batch; may return before it is done."""

    def wait(self) -> None:
        """Block until every started run is done."""

    @abstractmethod
    def fetch(self) -> Arrays:
        """Return the outputs of the last run by name, float32, copied to the host."""

    @abstractmethod
    def ran(self) -> Ran:
        """Return which precision the layers really run in, as the engine itself tells, not as was asked."""
