"""ONNX Runtime, seen from outside: on CPUs its own kernels, on GPUs its CUDA or TensorRT provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from dlcompare.core import hookimpl
from dlcompare.core.plugins.engine import Engine, Session
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.runtime import EnvironmentSpec

UNTESTED = "untested: no GPU was at hand"


class OnnxRuntime(Engine):
    """Reads the ONNX file as it is; the precision is what the file says."""

    name = "onnxruntime"
    title = "ONNX Runtime: its own kernels on CPU, the CUDA provider on GPU"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8")
    scheme = "u8s8"
    collects = True

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(lock=Path(__file__).parent / f"{device}.lock", python=((3, 11), (3, 14)),
                               check="import onnxruntime; print(onnxruntime.__version__)",
                               note=UNTESTED if device == "cuda" else "")

    def refuse(self, job: InferenceJob) -> str | None:
        if job.device == "cpu" and job.precision == "fp16":
            return ("onnxruntime has no fp16 kernels for CPUs: it runs such a file's convolutions in fp32, with casts "
                    "between (seen with 1.32.0); use --precision fp32 or int8")
        return super().refuse(job)

    def variables(self, job: InferenceJob) -> dict[str, str]:
        return {"NVIDIA_TF32_OVERRIDE": "0"} if job.device == "cuda" and job.precision == "fp32" else {}

    def load(self) -> None:
        from . import session  # noqa: F401  # it imports the library

    def identity(self, job: InferenceJob) -> dict[str, str]:
        from .session import identity

        return identity(self, job)

    def build(self, job: InferenceJob, folder: Path) -> None:
        from .session import build

        build(self, job, folder)

    def open(self, job: InferenceJob, folder: Path) -> Session:
        from .session import OnnxRuntimeSession

        return OnnxRuntimeSession(self, job, folder)


class Variant(OnnxRuntime):
    """Another way to use ONNX Runtime, in the same environment."""

    scheme = "s8s8"
    collects = False

    def environment(self, device: str) -> EnvironmentSpec:
        return replace(super().environment(device), owner=OnnxRuntime.name)


class OnnxRuntimeTensorRT(Variant):
    """The same with TensorRT as its provider, which reads symmetric INT8 alone."""

    name = "onnxruntime-tensorrt"
    title = "ONNX Runtime with its TensorRT provider"
    devices = ("cuda",)


class TensorRTEmulated(Variant):
    """TensorRT's INT8 file run on a CPU node by node: its arithmetic, not its kernels, nor its speed."""

    name = "tensorrt-emulated"
    title = "EMULATION of TensorRT's INT8 arithmetic on a CPU, by ONNX Runtime: for accuracy, not for speed"
    devices = ("cpu",)
    precisions = ("fp32", "int8")
    exact = True

    def refuse(self, job: InferenceJob) -> str | None:
        if job.task in ("measure", "scenario"):
            return "an emulation says nothing about speed; add --no-speed, or use --engine tensorrt where a GPU is"
        return super().refuse(job)


@hookimpl
def dlcompare_engines() -> list[Engine]:
    return [OnnxRuntime(), OnnxRuntimeTensorRT(), TensorRTEmulated()]
