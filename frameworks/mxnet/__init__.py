"""MXNet with Gluon, seen from outside.

The project is retired: it moved to the Apache Attic in 2023, and its last release, 1.9.1 of 2022, needs NumPy below
1.24 and was last built for CUDA 11.7. So it runs here on the CPU, in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import Source, Stream
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph
from dlcompare.core.plugins.backend import Backend, Trainer, cpu_has
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.frameworks import horovod

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.collectives import CollectiveJob, Collectives

NO_CUDA = ("MXNet runs on cpu alone: the project was retired in 2023, and its last CUDA packages, of 2022, are for "
           "CUDA 11.7 and older. Use --device cpu, or another framework")
NO_FP16 = ("MXNet 1.9.1 has no fp16 on a CPU: under its AMP a convolution ends in 'FP16 gemm on cpu not implemented' "
           "and a dense layer wants cuDNN. Use --precision bf16 or fp32")
NEW_NUMPY = ("MXNet 1.9 needs NumPy below 1.24, but finds NumPy {}; run `pip install numpy==1.23.5` in that "
             "environment, or leave out --env to have one made")
CHECK = f"""
import numpy, sys
if tuple(map(int, numpy.__version__.split(".")[:2])) >= (1, 24):
    sys.exit({NEW_NUMPY!r}.format(numpy.__version__))
import mxnet
"""
VERSION = "print(mxnet.__version__)"


class Mxnet(Backend):
    """A hybridised Gluon block; several workers exchange gradients through MXNet's own KVStore, ``dist_sync``."""

    name = "mxnet"
    title = "MXNet 1.9 (retired), Gluon, KVStore dist_sync (CPU only)"
    precisions = ("fp32", "bf16")
    pipelines = {"recordio": "ImageRecordIter"}
    rank_variable = "DLCOMPARE_RANK"
    executions = {"graph": "hybridize(static_alloc=True, static_shape=True)", "eager": "not hybridised, op by op"}
    offered_collectives = {"all_reduce": "KVStore pushpull: a server adds up, in place",
                           "broadcast": "KVStore pushpull of zeros but from rank 0, which costs an all-reduce"}

    def load(self) -> None:
        import numpy

        try:
            from . import trainer  # noqa: F401
        except AttributeError as error:
            if "numpy" not in str(error):
                raise
            raise JobError(NEW_NUMPY.format(numpy.__version__)) from error

    def environment(self, device: str) -> EnvironmentSpec:
        return EnvironmentSpec(
            lock=Path(__file__).parent / "cpu.lock",
            python=((3, 10), (3, 11)),
            check=CHECK + VERSION,
        )

    def refuse(self, job: Job) -> str | None:
        if job.device == "cuda":
            return NO_CUDA
        if job.precision == "bf16" and not cpu_has("avx512f"):
            return (f"{self.name}: bf16 was tried on CPUs with AVX-512 alone, for which oneDNN has kernels; this one "
                    "lacks it. Use --precision fp32")
        return NO_FP16 if job.precision == "fp16" else super().refuse(job)

    def command(self, job: Job, python: str) -> list[str]:
        if job.workers == 1:
            return [python]
        return [python, "-m", f"{__name__}.launcher", str(job.port or 0), str(job.workers), python]

    def variables(self, job: Job) -> dict[str, str]:
        # One thread of the engine starts the ops, each of which spreads over OpenMP's threads.
        return {"OMP_NUM_THREADS": str(job.threads), "MXNET_CPU_WORKER_NTHREADS": "1", "DMLC_ROLE": "worker"}

    def refuse_pipeline(self, data: str, *, workers: int = 1, skip: Collection[str] = ()) -> str | None:
        if workers > 1 and data.partition(":")[0] in self.pipelines:
            return (f"{self.name}'s ImageRecordIter divides shards by bytes, so several workers would end their epochs "
                    "apart; use --workers 1 or --pipeline neutral")
        return super().refuse_pipeline(data, workers=workers, skip=skip)

    def pipeline(self, source: Source) -> Stream:
        from .pipeline import RecordIter

        return RecordIter(source)

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        self.load()
        from .trainer import MxnetTrainer  # the only place the framework is imported

        return MxnetTrainer(graph, params, job)

    def collectives(self, job: CollectiveJob) -> Collectives:
        self.load()
        from .collectives import KvStoreCollectives

        return KvStoreCollectives(job)


class MxnetHorovod(Mxnet):
    """The same network and update; gradients are added up by Horovod over Gloo."""

    name = "mxnet-horovod"
    title = "MXNet 1.9 (retired), Gluon, Horovod under horovodrun (Gloo; CPU only)"
    rank_variable = horovod.RANK
    offered_collectives = {}  # the engine is that of tf-horovod

    def load(self) -> None:
        super().load()
        from . import horovod_trainer  # noqa: F401

    def environment(self, device: str) -> EnvironmentSpec:
        spec = super().environment(device)
        return replace(spec, lock=spec.lock.with_name("horovod-cpu.lock"),
                       check=f"{CHECK}import horovod.mxnet\n{VERSION}", builds=(horovod.build("MXNET", device=device),))

    def command(self, job: Job, python: str) -> list[str]:
        return horovod.command(job, python)

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        self.load()
        from .horovod_trainer import HorovodTrainer  # the only place Horovod is imported

        return HorovodTrainer(graph, params, job)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [Mxnet(), MxnetHorovod()]
