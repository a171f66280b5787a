"""What is asked of collectives: frameworks times collectives, each over all sizes in one job."""

from __future__ import annotations

import dataclasses
import itertools
import os
from dataclasses import dataclass
from typing import Any

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.kinds.kind import Request
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plan.sweep import swept
from dlcompare.core.plugins.collectives import COLLECTIVES, CollectiveJob
from dlcompare.core.plugins.job import COMPARED, PLACE
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import setting

from .sizes import parse


@dataclass(frozen=True)
class Own:
    """What the command offers beside the fields of its job."""

    nccl_tests: tuple[str, ...] = setting((), group=COMPARED, metavar="FILE[,FILE...]",
                                          help="Show what nccl-tests wrote with -J beside it.")
    plot: str | None = setting(None, group=PLACE, metavar="FILE",
                               help="Draw bus bandwidth against size as a .png or .svg file; of a sweep a figure for "
                                    "each setting of which there are several values.")


def plan(request: Request) -> Plan:
    """Return the jobs at each point of a sweep; UsageError if something does not exist or a size makes no sense."""
    return swept(request.settings, lambda one: plan_point(dataclasses.replace(request, settings=one)), request.tell)


def plan_point(request: Request) -> Plan:
    """Return a job for each framework and collective; UsageError if one does not exist or a size makes no sense."""
    from dlcompare.core.plan.feasibility import default_device  # late: it is heavy

    given = dict(request.settings)
    if not given.get("framework"):
        raise UsageError("--framework must be given, as in: dlcompare comm --framework pytorch-ddp,jax --workers 2")
    frameworks = names(given["framework"], everything=[
        name for name, one in plugins().backends().items()
        if one.offered_collectives and (given.get("device") or "cpu") in one.devices])
    if not frameworks:
        raise UsageError("no framework was named that has collectives here; there are: " + ", ".join(
            name for name, one in plugins().backends().items() if one.offered_collectives))
    for name in frameworks:
        plugins().backend(name)
    collectives = names(given.get("collective") or COLLECTIVES[0], everything=COLLECTIVES)
    for name in collectives or ("",):
        if name not in COLLECTIVES:
            raise unknown("collective", name, COLLECTIVES)
    given["device"] = given.get("device") or default_device(plugins(), frameworks)
    given.setdefault("threads", max(1, len(os.sched_getaffinity(0)) // given.get("workers", 2)))
    jobs = tuple(CollectiveJob(**{**given, "framework": framework, "collective": collective})
                 for collective, framework in itertools.product(collectives, frameworks))
    for model in parse(jobs[0].sizes)[1]:
        plugins().model(model).graph(jobs[0].image_size, None)
    request.judging.check(frameworks)
    reasons = {job.id: refusal(job) for job in jobs}
    return Plan("comm", jobs, {key: reason for key, reason in reasons.items() if reason},
                rounds=request.repetition.least, until=request.repetition.until_decided, judging=request.judging)


def names(text: str, *, everything: Any) -> list[str]:
    """Return the names of a list, each once, ``all`` being everything."""
    asked = [name.strip() for name in text.split(",") if name.strip()]
    return list(dict.fromkeys(one for name in asked for one in (everything if name == "all" else [name])))


def refusal(job: CollectiveJob) -> str | None:
    """Return why a job cannot run here: the backend's reason, too few GPUs, or processes that cannot meet."""
    from dlcompare.core.machine.ports import meeting_trouble
    from dlcompare.core.plan.feasibility import too_few_gpus

    backend = plugins().backend(job.framework)
    if reason := backend.refuse_collective(job):
        return reason
    if job.device == "cuda" and (few := too_few_gpus(job)):
        return few
    return meeting_trouble(job.port) if backend.meets(job) else None


JOB, OWN = CollectiveJob, Own
