"""TensorFlow with Horovod under horovodrun, seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core import hookimpl
from ...core.backend import Backend, Build, EnvironmentSpec, Trainer
from ...core.graph import Graph
from ...core.job import Job

if TYPE_CHECKING:
    from ...core.backend import Arrays


class TfHorovod(Backend):
    """Keras layers in one ``tf.function`` step; Horovod over Gloo between CPU processes, NCCL between GPUs."""

    name = "tf-horovod"
    title = "TensorFlow, Horovod under horovodrun (Gloo on CPU, NCCL on CUDA)"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "bf16")

    def environment(self, device: str) -> EnvironmentSpec:
        wanted = {"WITH_TENSORFLOW": "1", "WITHOUT_PYTORCH": "1", "WITHOUT_MXNET": "1", "WITH_GLOO": "1",
                  "WITHOUT_MPI": "1", **({"GPU_OPERATIONS": "NCCL"} if device == "cuda" else {})}
        return EnvironmentSpec(
            lock=Path(__file__).parent / f"{device}.lock",
            python=((3, 10), (3, 11)),
            check="import tensorflow, horovod.tensorflow; print(tensorflow.__version__)",
            builds=(Build("horovod==0.28.1", {f"HOROVOD_{k}": v for k, v in wanted.items()},
                          tools=("g++", "cmake", "make"), minutes=2.0),),
            note="untested: no GPU was at hand" if device == "cuda" else "",
        )

    def command(self, job: Job, python: str) -> list[str]:
        # Our own door to horovodrun: see there. Without the cache it writes nothing into the user's home.
        return [python, "-m", f"{__name__}.horovodrun", str(job.port or 0), "--gloo", "--disable-cache",
                "-np", str(job.workers), python]

    def variables(self, job: Job) -> dict[str, str]:
        return {"TF_CPP_MIN_LOG_LEVEL": "1", "OMP_NUM_THREADS": str(job.threads)}

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import TfTrainer  # the only place the framework is imported

        return TfTrainer(graph, params, job)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [TfHorovod()]
