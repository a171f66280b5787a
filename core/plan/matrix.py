"""The comparison matrix: from what was asked to jobs, with the reason for every cell that cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import training_bytes
from dlcompare.core.graph.model import Model
from dlcompare.core.judging.verdict import AS_USUAL, Judging
from dlcompare.core.machine.accelerators import gpus
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.machine.ports import port_trouble
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import Plugins

from .variants import Side, parse

DEFAULT_BATCH = {"cpu": 8, "cuda": 64, "tpu": 64}
MOST_ROUNDS = 100  # of those that go on until every ratio is decided
LEAST_ROUNDS = 3  # before a ratio may be called decided


@dataclass(frozen=True)
class Plan:
    """Jobs in the order they were asked for, and for those that cannot run the reason, by job id.

    Every job runs in each of the ``rounds``; with ``until``, a number of seconds, they go on after that until every
    ratio is decided. ``variants`` are the settings that a job was given apart from the others, as text, by job id.
    """

    jobs: tuple[Job, ...]
    refusals: dict[str, str]
    variants: dict[str, str] = field(default_factory=dict)
    rounds: int = 1
    until: float | None = None
    judging: Judging = AS_USUAL

    @property
    def repeated(self) -> bool:
        """Return whether jobs run more than once."""
        return self.rounds > 1 or self.until is not None

    @property
    def most_rounds(self) -> int:
        """Return how many rounds there are at most."""
        return max(MOST_ROUNDS, self.rounds) if self.until else self.rounds

    def name(self, job: Job) -> str:
        """Return what tables call a job's side of the comparison."""
        return ":".join(part for part in (job.framework, self.variants.get(job.id, "")) if part)

    def order(self, number: int) -> tuple[Job, ...]:
        """Return the jobs in the order of a round, counted from 0; jobs that run once keep the order asked for.

        Shuffled anew for every second round, and the one after it runs backwards: a machine that slowly changes its
        speed then favours nobody.
        """
        jobs = list(self.jobs)
        if self.repeated:
            random.Random(f"{self.jobs[0].seed} {number // 2}").shuffle(jobs)
        return tuple(jobs[::-1] if number % 2 else jobs)

    def to_json(self) -> str:
        """Return the plan as JSON text; the same request on the same machine gives the same text."""
        plain = {"schema": 1, "jobs": [json.loads(job.to_json()) for job in self.jobs], "refusals": self.refusals,
                 "variants": self.variants, "rounds": self.rounds, "until": self.until, "judging": asdict(self.judging),
                 "order": [[job.id for job in self.order(number)] for number in range(self.most_rounds)]}
        return json.dumps(plain, indent=1, sort_keys=True)

    @property
    def digest(self) -> str:
        """Return a hash of jobs and rounds, so that ``--resume`` finds the run of the same request."""
        said = "".join(job.to_json() for job in self.jobs)
        if self.repeated:
            said += f"{self.rounds} {self.until} {self.judging if self.until else ''}"
        return hashlib.sha256(said.encode()).hexdigest()


def make_plan(plugins: Plugins, frameworks: Sequence[str], model: str, *, rounds: int = 1,
              until: float | None = None, judging: Judging = AS_USUAL, **options: Any) -> Plan:
    """Return the plan for some frameworks, each a name or a variant of one, and one model.

    ``options`` are :class:`~dlcompare.core.plugins.job.Job` fields; one that is None takes the default of this machine.

    Raises:
        UsageError: a framework, model, dataset, setting or option does not exist or fit.
    """
    asked = sides(plugins, frameworks, device=options.get("device"))
    known = plugins.model(model)
    given = {k: v for k, v in options.items() if v is not None}
    given.setdefault("data", known.data)
    graph = known.graph(given.get("image_size"))
    if given.get("weights"):
        given["weights"] = existing_file(given["weights"])
    given.setdefault("device", default_device(plugins, [side.framework for side in asked]))
    given.setdefault("batch", DEFAULT_BATCH[given["device"]])
    given.setdefault("threads", max(1, len(os.sched_getaffinity(0)) // given.get("workers", 1)))
    wanted = [{"execution": usual(plugins, side.framework), **given, **side.settings} for side in asked]
    for one in wanted:
        one["data"] = checked_data(plugins, one["data"], graph)
    jobs = tuple(Job(framework=side.framework, model=model, **one) for side, one in zip(asked, wanted, strict=True))
    distinct(asked, jobs)
    for job in jobs:
        examinable(known, job)
    judging.check(side.name for side in asked)
    plan = planned(plugins, jobs, [side.variant for side in asked], graph)
    return replace(plan, rounds=max(rounds, LEAST_ROUNDS) if until else rounds, until=until, judging=judging)


def examinable(model: Model, job: Job) -> None:
    """Raise UsageError if a job is to reach an accuracy that nobody can measure."""
    if job.target is None:
        return
    if model.task != "classification":
        raise UsageError(f"--target {job.target} needs a network that classifies; {model.name} does {model.task}")
    if job.data.partition(":")[0] == "synthetic":
        raise UsageError(f"--target {job.target} needs real data, such as --data digits: the labels of synthetic data "
                         "are drawn at random")


def planned(plugins: Plugins, jobs: Sequence[Job], variants: Sequence[str], graph: Graph) -> Plan:
    """Return the plan for these jobs, each with its variant's text, to run once."""
    reasons = {job.id: refusal(plugins, job, graph) for job in jobs}
    named = {job.id: text for job, text in zip(jobs, variants, strict=True) if text}
    return Plan(tuple(jobs), {k: v for k, v in reasons.items() if v}, named)


def sides(plugins: Plugins, asked: Sequence[str], *, device: str | None = None) -> list[Side]:
    """Return the sides asked for, each checked to exist, once.

    ``all`` is every framework but the oracle that runs on the device at all, by default on a CPU.
    """
    everything = [name for name, backend in plugins.backends().items() if name != ORACLE
                  and (device or "cpu") in backend.devices]
    found = [side for one in asked for side in (map(Side, everything) if one == "all" else [parse(one)])]
    for side in found:
        plugins.backend(side.framework)
    if not found:
        raise UsageError(f"no framework was named; there is: {', '.join(plugins.backends())}")
    return list({side.name: side for side in found}.values())


def distinct(asked: Sequence[Side], jobs: Sequence[Job]) -> None:
    """Raise UsageError if two sides come to the same job."""
    seen: dict[str, Side] = {}
    for side, job in zip(asked, jobs, strict=True):
        if job.id in seen:
            raise UsageError(f"{seen[job.id].name} and {side.name} are the same job: the setting is what that side has "
                             "anyway; name another value")
        seen[job.id] = side


def usual(plugins: Plugins, name: str) -> str:
    """Return how a framework's users execute a network."""
    return next(iter(plugins.backend(name).executions))


def checked_data(plugins: Plugins, data: str, graph: Graph) -> str:
    """Return a dataset's name with the path in it made absolute; UsageError if the network cannot read it."""
    kind, argument = plugins.dataset(data)
    kind.check(argument, graph.inputs)
    return from_anywhere(data)


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
    return "cuda" if gpus() and all("cuda" in plugins.backend(n).devices for n in names) else "cpu"


def refusal(plugins: Plugins, job: Job, graph: Graph) -> str | None:
    """Return why a job cannot run here, or None: the backend's reason, a taken port, no GPU, too little memory."""
    reason = plugins.backend(job.framework).refuse(job)
    if reason:
        return reason
    if job.port and (trouble := port_trouble(job.port)):
        return trouble
    return too_large(job, graph) if job.device == "cpu" else too_few_gpus(job)


def too_few_gpus(job: Job) -> str | None:
    """Return a reason if there are more workers than GPUs; a job that is only compiled needs none."""
    there = gpus() if job.device == "cuda" and job.task != "compile" else job.workers
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
