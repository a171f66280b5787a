"""The comparison matrix: from what was asked to jobs, with the reason for every cell that cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .conformance import ORACLE
from .cost import training_bytes
from .errors import UsageError
from .graph import Graph
from .job import Job
from .launch import port_trouble
from .memory import free_memory
from .plugins import Plugins

DEFAULT_BATCH = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class Plan:
    """Jobs in the order they run, and for those that cannot run the reason, by job id."""

    jobs: tuple[Job, ...]
    refusals: dict[str, str]

    def to_json(self) -> str:
        """Return the plan as JSON text; the same request on the same machine gives the same text."""
        jobs = [json.loads(job.to_json()) for job in self.jobs]
        return json.dumps({"schema": 1, "jobs": jobs, "refusals": self.refusals}, indent=1, sort_keys=True)

    @property
    def digest(self) -> str:
        """Return a hash of the jobs, so that ``--resume`` finds the run of the same request."""
        return hashlib.sha256("".join(job.to_json() for job in self.jobs).encode()).hexdigest()


def make_plan(plugins: Plugins, frameworks: Sequence[str], model: str, **options: Any) -> Plan:
    """Return the plan for some frameworks and one model.

    ``options`` are :class:`~dlcompare.core.job.Job` fields; one that is None takes the default of this machine.

    Raises:
        UsageError: a framework, model, dataset or option does not exist or fit.
    """
    names = framework_names(plugins, frameworks)
    known = plugins.model(model)
    given = {k: v for k, v in options.items() if v is not None}
    given.setdefault("data", known.data)
    kind, argument = plugins.dataset(given["data"])
    graph = known.graph(given.get("image_size"))
    kind.check(argument, graph.inputs)
    given["data"] = from_anywhere(given["data"])
    if given.get("weights"):
        given["weights"] = existing_file(given["weights"])
    given.setdefault("device", default_device(plugins, names))
    given.setdefault("batch", DEFAULT_BATCH[given["device"]])
    given.setdefault("threads", max(1, len(os.sched_getaffinity(0)) // given.get("workers", 1)))
    jobs = tuple(Job(framework=name, model=model, **{"execution": usual(plugins, name), **given}) for name in names)
    reasons = {job.id: refusal(plugins, job, graph) for job in jobs}
    return Plan(jobs, {k: v for k, v in reasons.items() if v})


def framework_names(plugins: Plugins, asked: Sequence[str]) -> list[str]:
    """Return the backends asked for, each checked to exist, once; ``all`` is every one but the oracle."""
    everything = [name for name in plugins.backends() if name != ORACLE]
    names = [n for one in asked for n in (everything if one == "all" else [one])]
    for name in names:
        plugins.backend(name)
    if not names:
        raise UsageError(f"no framework was named; there is: {', '.join(plugins.backends())}")
    return list(dict.fromkeys(names))


def usual(plugins: Plugins, name: str) -> str:
    """Return how a framework's users execute a network."""
    return next(iter(plugins.backend(name).executions))


def from_anywhere(data: str) -> str:
    """Return a dataset's name with the path in it, if there is one, made absolute: workers run in other folders."""
    name, _, argument = data.partition(":")
    return f"{name}:{Path(argument).resolve()}" if argument and Path(argument).exists() else data


def existing_file(path: str) -> str:
    """Return the absolute path of a file that exists; UsageError otherwise."""
    if not Path(path).is_file():
        raise UsageError(f"the weights file {path} does not exist; --weights takes a .safetensors or .pth file")
    return str(Path(path).resolve())


def default_device(plugins: Plugins, names: Sequence[str]) -> str:
    """Return ``cuda`` if a GPU is visible and every backend asked for can use it, else ``cpu``."""
    visible = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    return "cuda" if visible and all("cuda" in plugins.backend(n).devices for n in names) else "cpu"


def refusal(plugins: Plugins, job: Job, graph: Graph) -> str | None:
    """Return why a job cannot run here, or None: the backend's reason, a taken port, too little memory."""
    reason = plugins.backend(job.framework).refuse(job)
    if reason:
        return reason
    if job.port and (trouble := port_trouble(job.port)):
        return trouble
    return too_large(job, graph) if job.device == "cpu" else None


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
