"""The oracle, seen from outside: every op in NumPy float64, slow and sure. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dlcompare.core import hookimpl
from dlcompare.core.graph import Graph
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.plugins.job import Job

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays, Trainer

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Reference(Backend):
    """The reference implementation that every framework is held against.

    Offered as ``fp32`` because that is the arithmetic it judges; it computes in float64 and never rounds, so what its
    trainer returns is float64.
    """

    name: ClassVar[str] = "reference"
    title: ClassVar[str] = "NumPy in float64: the oracle, slow and sure, for verification"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    def refuse(self, job: Job) -> str | None:
        if job.workers > 1:
            return (f"reference is one process and cannot be {job.workers} workers; use --workers 1 "
                    "(`dlcompare verify` emulates several workers inside that process)")
        return super().refuse(job)

    def variables(self, job: Job) -> dict[str, str]:
        return {name: str(job.threads) for name in THREAD_VARIABLES}

    def trainer(self, graph: Graph, params: Arrays, job: Job) -> Trainer:
        from .trainer import ReferenceTrainer

        return ReferenceTrainer(graph, params, job)

    def oracle(self, graph: Graph, params: Arrays, job: Job, **emulation: Any) -> Trainer:
        """Return the trainer that verification judges by; ``emulation``: ``replicas``, ``noise``, ``dtype``."""
        from .oracle import Oracle

        return Oracle(graph, params, job, **emulation)


@hookimpl
def dlcompare_backends() -> list[Backend]:
    return [Reference()]
