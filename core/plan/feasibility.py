"""Why a cell of a plan cannot be on this machine: the backend's reason, a taken port, no GPU, too little memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import training_bytes
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.machine.ports import meeting_trouble
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import Plugins


def default_device(plugins: Plugins, names: Sequence[str]) -> str:
    """Return ``cuda`` if a GPU is visible and every backend asked for can use it, else ``cpu``."""
    return "cuda" if gpus() and all("cuda" in plugins.backend(n).devices for n in names) else "cpu"


def refusal(plugins: Plugins, job: Job, graph: Graph) -> str | None:
    """Return why a job cannot run here, or None: the backend's reason, no way to meet, no GPU, too little memory."""
    backend = plugins.backend(job.framework)
    if reason := backend.refuse(job):
        return reason
    if backend.meets(job) and (trouble := meeting_trouble(job.port)):
        return trouble
    return too_large(job, graph) if job.device == "cpu" else too_few_gpus(job)


def check_batch_norm(graph: Graph, batch: int) -> None:
    """Raise UsageError if a batch norm would have one value of each channel to normalise.

    Its variance is then 0, and the unbiased one that running statistics take is 0 / 0; frameworks make of it an error,
    NaN or zeros, each in its own way.
    """
    for node in graph.nodes:
        if node.op == "batch_norm" and batch * node.rows * math.prod(node.shape[1:]) == 1:
            raise UsageError(
                f"a batch of 1 leaves batch norm {node.name!r} of model {graph.name!r} one value of each channel (its "
                f"images are {' x '.join(map(str, node.shape[1:]))} there), and one value has no variance: no "
                f"framework can train that; use --batch 2 or more, or a larger --image-size")


def too_few_gpus(job: Job | CollectiveJob) -> str | None:
    """Return a reason if there are more workers than GPUs; a job that is only compiled needs none."""
    there = gpus() if job.device == "cuda" and not job.topology else job.workers
    if job.workers <= there:
        return None
    wanted = f"{job.workers} workers need {job.workers} GPUs" if job.workers > 1 else "a worker needs a GPU"
    return (f"{wanted}; this machine has {there or 'none'}" +
            (f"; use --workers {there}" if there else "; use --device cpu") + ", or another machine")


def too_large(job: Job, graph: Graph) -> str | None:
    """Return a reason if even a lower bound of what training needs is more than the memory that is free."""
    need = training_bytes(graph, job.batch) * job.workers
    free = free_memory()
    if need <= free:
        return None
    fixed = training_bytes(graph, 0) * job.workers
    fits = int((free - fixed) / (need - fixed) * job.batch) if free > fixed else 0
    return (f"a batch of {job.batch} on {job.workers} worker(s) needs at least {need / 2**30:.1f} GiB and "
            f"{free / 2**30:.1f} GiB are free; " + (f"try --batch {fits} or less" if fits else "use a smaller model"))
