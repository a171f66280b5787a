"""PyTorch, under DistributedDataParallel or DataParallel, seen from outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import Source, Stream
from dlcompare.core.graph import Graph
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.plugins.backend import Backend, Trainer
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import EnvironmentSpec

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.collectives import CollectiveJob, Collectives

EAGER = "op by op, as PyTorch runs a module by itself"
SLOW_FP16 = ("PyTorch's fp16 convolutions for a CPU are, channels first, more than twenty times slower than fp32; use "
             "--layout NHWC (about five times slower), or --precision bf16")



class PytorchDdp(Backend):
    """``torch.nn`` modules under DistributedDataParallel; gloo between CPU processes, NCCL between GPUs."""

    name = "pytorch-ddp"
    title = "PyTorch, DistributedDataParallel under torchrun (gloo on CPU, NCCL on CUDA)"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions = ("fp32", "tf32", "bf16", "fp16")
    executions = {
        "eager": EAGER,
        "compiled": "torch.compile with Inductor, forward and backward, in pieces as large as the gradient buckets; "
                    "the optimiser and evaluation op by op",
    }
    layouts = ("NCHW", "NHWC")
    offered_collectives = {"all_reduce": "dist.all_reduce, in place", "broadcast": "dist.broadcast, in place",
                           "all_gather": "dist.all_gather_into_tensor", "reduce_scatter": "dist.reduce_scatter_tensor"}
    pipelines = {"imagefolder": "DataLoader", "webdataset": "DataLoader on tar shards"}
    rank_variable = "RANK"

    def load(self) -> None:
        from . import trainer  # noqa: F401  # the only modules that import the framework

    def environment(self, device: str) -> EnvironmentSpec | None:
        return EnvironmentSpec(
            lock=Path(__file__).parent / f"{device}.lock",
            python=((3, 10), (3, 13)),
            check="import torch; print(torch.__version__)",
            note="untested: no GPU was at hand" if device == "cuda" else "",
        )

    def refuse(self, job: Job) -> str | None:
        if job.device == "cpu" and job.precision == "fp16" and job.layout == "NCHW":
            return f"{self.name}: {SLOW_FP16}"
        if job.execution == "graph":
            return (f"{self.name} offers {', '.join(self.executions)}: PyTorch's way to run a whole graph is "
                    "torch.compile (TorchScript is deprecated). Use --execution compiled")
        if job.execution == "compiled" and job.device == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            return f"{self.name} compiles for a CPU with g++, not on PATH: install it, or use --execution eager"
        return super().refuse(job)

    def command(self, job: Job, python: str) -> list[str]:
        return [python, "-m", f"{__name__}.run", str(job.port or 0), "--nnodes=1", f"--nproc-per-node={job.workers}"]

    def variables(self, job: Job) -> dict[str, str]:
        threads = str(job.threads)
        local = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
        # Inductor would start a compiling process for every core, in each worker.
        compiling = {"TORCHINDUCTOR_COMPILE_THREADS": threads} if job.execution == "compiled" else {}
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **local, **compiling}

    def refuse_pipeline(self, data: str, *, workers: int = 1, skip: Collection[str] = ()) -> str | None:
        if workers > 1 and data.startswith("webdataset:"):
            return (f"{self.name} reads tar shards in one worker alone: whole shards go to each process, so several "
                    "workers would end their epochs apart; use --data imagefolder: or --pipeline neutral")
        return super().refuse_pipeline(data, workers=workers, skip=skip)

    def pipeline(self, source: Source) -> Stream:
        from .pipeline import TorchLoader

        return TorchLoader(source)

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import TorchTrainer  # the only place the framework is imported

        return TorchTrainer(graph, params, job)

    def collectives(self, job: CollectiveJob) -> Collectives:
        from .collectives import TorchCollectives

        return TorchCollectives(job)


class PytorchDp(PytorchDdp):
    """One process, whose threads drive all GPUs under DataParallel: what PyTorch had before DistributedDataParallel."""

    name = "pytorch-dp"
    title = "PyTorch, DataParallel: one process that drives several GPUs"
    devices = ("cuda",)
    executions = {"eager": EAGER}
    offered_collectives = {}  # one process, which copies between its GPUs
    rank_variable = Backend.rank_variable

    def environment(self, device: str) -> EnvironmentSpec | None:
        spec = super().environment(device)
        return replace(spec, owner=PytorchDdp.name) if spec and device in self.devices else None

    def refuse(self, job: Job) -> str | None:
        if job.device == "cpu":
            return f"{self.name} runs on several GPUs; on a CPU DataParallel does nothing. Use pytorch-ddp"
        if job.workers == 1:
            return f"{self.name} with one worker is a plain module, which is pytorch-ddp --workers 1; name more workers"
        if job.execution == "compiled":
            return (f"{self.name} offers eager: torch.compile leaves the copies of a module that DataParallel makes at "
                    "every step as they are. Use pytorch-ddp")
        if (seen := gpus()) < job.workers:
            return f"{self.name} needs a GPU for each of {job.workers} workers, and sees {seen} on this machine"
        return super().refuse(job)

    def processes(self, job: Job) -> int:
        return 1

    def command(self, job: Job, python: str) -> list[str]:
        return [python]

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .data_parallel import DataParallelTrainer  # the only place the framework is imported

        return DataParallelTrainer(graph, params, job)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [PytorchDdp(), PytorchDp()]
