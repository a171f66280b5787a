"""TensorFlow with Horovod under horovodrun, seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import Source, Stream
from dlcompare.core.graph import Graph
from dlcompare.core.plugins.backend import Backend, Trainer, cpu_has
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.frameworks import gloo, horovod

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.collectives import CollectiveJob, Collectives

SLOW_FP16 = ("TensorFlow's own fp16 kernels for a CPU are some forty times slower than fp32; use --execution compiled, "
             "for XLA has faster ones, or --precision bf16")


class TfHorovod(Backend):
    """Keras layers in one ``tf.function`` step; Horovod over Gloo between CPU processes, NCCL between GPUs."""

    name = "tf-horovod"
    title = "TensorFlow, Horovod under horovodrun (Gloo on CPU, NCCL on CUDA)"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "tf32", "bf16", "fp16")
    rank_variable = horovod.RANK
    executions = {
        "graph": "the whole step is one tf.function, optimised by Grappler",
        "eager": "op by op; Horovod still all-reduces in a tf.function of its own",
        "compiled": "XLA (jit_compile) for forward and backward; all-reduce, after both, and update in a tf.function; "
                    "evaluation as graph",
    }
    layouts = ("NHWC",)
    offered_collectives = {"all_reduce": "hvd.allreduce", "broadcast": "hvd.broadcast", "all_gather": "hvd.allgather",
                           "reduce_scatter": "hvd.reducescatter"}
    pipelines = {"tfrecord": "tf.data"}

    def load(self) -> None:
        from . import trainer  # noqa: F401  # the only modules that import the framework

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(
            lock=Path(__file__).parent / f"{device}.lock",
            python=((3, 10), (3, 11)),
            check="import tensorflow, horovod.tensorflow; print(tensorflow.__version__)",
            builds=(horovod.build("TENSORFLOW", device=device),),
            note="untested: no GPU was at hand" if device == "cuda" else "",
        )

    def refuse(self, job: Job) -> str | None:
        if job.device == "cpu" and job.precision == "bf16" and not cpu_has("avx512f"):
            return (f"{self.name} computes bf16 fast only on CPUs with AVX-512, which this one lacks; TensorFlow would "
                    "emulate it, more than ten times slower than fp32. Use --precision fp32")
        if job.device == "cpu" and job.precision == "fp16" and job.execution != "compiled":
            return f"{self.name}: {SLOW_FP16}"
        if job.layout == "NCHW":
            return (f"{self.name} keeps images as NHWC, the one layout that all of TensorFlow's CPU kernels have and "
                    "its tensor-core kernels want; name no --layout, or NHWC")
        return super().refuse(job)

    def command(self, job: Job, python: str) -> list[str]:
        return horovod.command(job, python)

    def variables(self, job: Job | CollectiveJob) -> dict[str, str]:
        # The thread pools are sized by the trainer; these reach what reads only the environment.
        wanted = {"TF_CPP_MIN_LOG_LEVEL": "1", "OMP_NUM_THREADS": str(job.threads)}
        if job.precision == "bf16":
            wanted["TF_ENABLE_ONEDNN_OPTS"] = "1"  # the only fast bfloat16 kernels on a CPU
        if getattr(job, "task", None) == "observe":  # of collectives
            wanted["HOROVOD_TIMELINE"] = "DYNAMIC"  # lets one be begun, which shows what it sends
        if job.kind == "verification":
            wanted["TF_CUDNN_USE_AUTOTUNE"] = "0"
        return wanted

    def pipeline(self, source: Source) -> Stream:
        from .pipeline import TfData

        return TfData(source)

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import TfTrainer  # the only place the framework is imported

        return TfTrainer(graph, params, job)

    def refuse_collective(self, job: CollectiveJob, *, size: int | None = None) -> str | None:
        return (gloo.refuse_wrong(job, call="hvd.reducescatter of Horovod 0.28.1", size=size)
                or super().refuse_collective(job, size=size))

    def collectives(self, job: CollectiveJob) -> Collectives:
        from .collectives import HorovodCollectives

        return HorovodCollectives(job)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [TfHorovod()]
