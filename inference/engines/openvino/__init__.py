"""OpenVINO on CPUs, seen from outside."""

from __future__ import annotations

from pathlib import Path

from dlcompare.core import hookimpl
from dlcompare.core.plugins.backend import cpu_has
from dlcompare.core.plugins.engine import Engine, Session
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.runtime import EnvironmentSpec


class OpenVino(Engine):
    """Reads the same ONNX file; FP32 is FP32 here, not the BF16 that OpenVINO computes in where nobody says."""

    name = "openvino"
    title = "OpenVINO, latency hint, one stream, on CPU"
    precisions = ("fp32", "bf16", "int8")
    scheme = "u8s8"
    lowers = ("bf16",)

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(lock=Path(__file__).parent / "cpu.lock", python=((3, 11), (3, 14)),
                               check="import openvino; print(openvino.__version__)",
                               without=("openvino-telemetry",))

    def refuse(self, job: InferenceJob) -> str | None:
        if job.precision == "bf16" and not cpu_has("avx512_bf16", "amx_bf16"):
            return "this CPU has no bf16 arithmetic (avx512_bf16 or amx_bf16); use --precision fp32 or int8"
        if job.precision == "fp16":
            return "openvino computes fp16 files in fp32 on a CPU; use --precision fp32, bf16 or int8"
        return super().refuse(job)

    def load(self) -> None:
        from . import session  # noqa: F401  # it imports the library

    def identity(self, job: InferenceJob) -> dict[str, str]:
        from .session import identity

        return identity()

    def build(self, job: InferenceJob, folder: Path) -> None:
        from .session import build

        build(job, folder)

    def open(self, job: InferenceJob, folder: Path) -> Session:
        from .session import OpenVinoSession

        return OpenVinoSession(job, folder)


@hookimpl
def dlcompare_engines() -> list[Engine]:
    return [OpenVino()]
