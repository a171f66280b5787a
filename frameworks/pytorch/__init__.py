"""PyTorch with DistributedDataParallel under torchrun, seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.backend import Backend, EnvironmentSpec, Trainer
from dlcompare.core.graph import Graph
from dlcompare.core.job import Job

if TYPE_CHECKING:
    from dlcompare.core.backend import Arrays


class PytorchDdp(Backend):
    """``torch.nn`` modules under DistributedDataParallel; gloo between CPU processes, NCCL between GPUs."""

    name = "pytorch-ddp"
    title = "PyTorch, DistributedDataParallel under torchrun (gloo on CPU, NCCL on CUDA)"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "bf16")

    rank_variable = "RANK"

    def load(self) -> None:
        from . import trainer  # noqa: F401  # the only modules that import the framework

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(
            lock=Path(__file__).parent / f"{device}.lock",
            python=((3, 10), (3, 13)),
            check="import torch; print(torch.__version__)",
            note="untested: no GPU was at hand" if device == "cuda" else "",
        )

    def command(self, job: Job, python: str) -> list[str]:
        # A named port is for firewalls; otherwise torchrun finds a free one itself.
        where = ([f"--rdzv-endpoint=127.0.0.1:{job.port}", "--rdzv-backend=c10d"] if job.port else ["--standalone"])
        return [python, "-m", "torch.distributed.run", *where, "--nnodes=1", f"--nproc-per-node={job.workers}"]

    def variables(self, job: Job) -> dict[str, str]:
        threads = str(job.threads)
        local = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **local}

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import TorchTrainer  # the only place the framework is imported

        return TorchTrainer(graph, params, job)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [PytorchDdp()]
