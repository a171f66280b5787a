"""TensorRT through its own Python API, seen from outside: the current one, and 8.5 for GPUs before Turing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from dlcompare.core import hookimpl
from dlcompare.core.errors import JobError
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.plugins.engine import Engine, Session
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.runtime import EnvironmentSpec

from .limits import REMOVED

UNTESTED = "untested: no GPU was at hand"
WHEELS = ("no TensorRT library here ({}). For CUDA 13 install tensorrt-cu13, for CUDA 12 tensorrt-cu12, both from "
          "NVIDIA's own package index; for CUDA 11, or a GPU before Turing, tensorrt==8.5.3.1 with CPython 3.10, which "
          "pip's usual index has: --engine tensorrt85")
CHECK = f"""
try:
    import tensorrt
except (ImportError, OSError) as error:
    raise SystemExit({WHEELS!r}.format(error))
print(tensorrt.__version__)"""
ENTROPY = "tensorrt-entropy2"  # TensorRT's own calibrator


class TensorRT(Engine):
    """Precision is what the ONNX file says; plans load on the version and the GPU that built them."""

    name = "tensorrt"
    title = "TensorRT 11, CUDA 13"
    devices = ("cuda",)
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "int8")
    scheme = "s8s8"
    lock: ClassVar[str] = "cuda.lock"
    pythons: ClassVar[tuple[tuple[int, int], tuple[int, int]]] = ((3, 11), (3, 14))
    note: ClassVar[str] = f"{UNTESTED}; its wheels are on NVIDIA's own package index"

    def environment(self, device: str) -> EnvironmentSpec | None:
        if device not in self.devices:
            return None  # refused there; nothing is worth downloading
        return EnvironmentSpec(lock=Path(__file__).parent / self.lock, python=self.pythons, check=CHECK,
                               note=self.note)

    def refuse(self, job: InferenceJob) -> str | None:
        if job.calibrator == ENTROPY and ENTROPY not in self.calibrators:
            return REMOVED.format("11")
        if reason := super().refuse(job):
            return reason
        if not gpus():
            return ("there is no NVIDIA GPU here, or its driver is not loaded; TensorRT neither builds nor runs "
                    "without one. --engine tensorrt-emulated shows on a CPU what accuracy its INT8 has")
        return None

    def load(self) -> None:
        try:
            from . import session  # noqa: F401  # it imports the library
        except (ImportError, OSError) as error:
            raise JobError(WHEELS.format(error)) from error

    def identity(self, job: InferenceJob) -> dict[str, str]:
        from .session import identity

        return identity(job)

    def build(self, job: InferenceJob, folder: Path) -> None:
        from .session import build

        build(job, folder)

    def open(self, job: InferenceJob, folder: Path) -> Session:
        from .session import TensorRTSession

        return TensorRTSession(job, folder)


class TensorRT85(TensorRT):
    """The last version whose wheel holds all of it and is on pip's usual index; it runs on Volta and Pascal too."""

    name = "tensorrt85"
    title = "TensorRT 8.5, CUDA 11, CPython 3.10: for GPUs from Pascal to Ada, and TensorRT's own entropy calibrator"
    precisions = ("fp32", "fp16", "int8")
    calibrators = (ENTROPY,)
    lock = "tensorrt85.lock"
    pythons = ((3, 10), (3, 10))
    note = UNTESTED


@hookimpl
def dlcompare_engines() -> list[Engine]:
    return [TensorRT(), TensorRT85()]
