"""What is asked of training: frameworks, one model, settings; and the plan that this amounts to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Request
from dlcompare.core.plan.matrix import Matrix, matrix
from dlcompare.core.plan.plan import LEAST_ROUNDS, Plan
from dlcompare.core.plan.sweep import swept
from dlcompare.core.plugins.job import MEASURED, PLACE, TRAINS, J, Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import setting

PROOFS = ("auto", "full", "off")

@dataclass(frozen=True)
class Compiled:
    """What every command that trains offers beside the fields of its job."""

    compile: bool = setting(False, group=TRAINS, help="The same as --execution compiled.")


@dataclass(frozen=True)
class Proved(Compiled):
    """What every command offers whose arithmetic is proved."""

    verify: str = setting("auto", group=MEASURED, choices=PROOFS,
                          help="Hold the frameworks against the reference when they have been measured: where no "
                               "certificate speaks for them (auto), anew as 'dlcompare verify' does (full), or not at "
                               "all (off).")


@dataclass(frozen=True)
class Swept(Proved):
    """What every command offers whose arithmetic is proved and that takes several values of a setting."""

    plot: str | None = setting(None, group=PLACE, metavar="FILE",
                               help="Draw a sweep too, as .png or .svg: a figure for each setting of which there are "
                                    "several values.")


@dataclass(frozen=True)
class Own(Swept):
    """What training offers beside the fields of its job."""

    explain: bool = setting(False, group="How it is judged",
                            help="Run the slowest again with one setting at a time moved to the fastest's.")


def ask_matrix(cls: type[J], request: Request) -> Matrix[J]:
    """Return the jobs of a request that trains."""
    return matrix(plugins(), cls, settle(request), request.tell)


def settle(request: Request) -> dict[str, Any]:
    """Return the settings that were asked for, --compile among them; UsageError if it contradicts another."""
    settings = dict(request.settings)
    if request.own.compile:
        if settings.get("execution") not in (None, "compiled"):
            raise UsageError(f"--compile is --execution compiled, and --execution {settings['execution']} was given as "
                             "well; leave one of them out")
        settings["execution"] = "compiled"
    return settings


def plan_rounds(found: Matrix[Any], request: Request, **more: Any) -> Plan:
    """Return the plan that runs jobs as often as was asked for, each refused that cannot run here."""
    from dlcompare.core.plan.feasibility import refusal

    request.judging.check(side.name for side in found.sides)
    for job in found.jobs:
        check_size(job)
    refusals = {job.id: refusal(plugins(), job, found.graph) for job in found.jobs}
    return found.plan(refusals, rounds=request.repetition.least, until=request.repetition.until_decided,
                      judging=request.judging, seed=found.jobs[0].seed, **more)


def check_size(job: Job) -> None:
    """Raise UsageError if the data have fewer samples than one step of a job needs."""
    from dlcompare.core.data.order import Sampler  # late: it needs NumPy

    kind, argument = plugins().dataset(job.data)
    if kind.size is not None:
        Sampler(kind.size(argument, without=job.skip), seed=job.seed, rank=0, world=job.workers, batch=job.batch)


def plan(request: Request) -> Plan:
    """Return the plan of a comparison of training throughputs; UsageError if something does not exist or fit."""
    asked = in_rounds(request) if request.own.explain else request
    made = swept(request.settings, lambda one: plan_point(replace(asked, settings=one)), request.tell)
    if request.own.explain and made.points:
        raise UsageError("--explain explains one gap, and this is a sweep; give each setting one value")
    if request.own.explain and len(made.jobs) < 2:
        raise UsageError("--explain compares frameworks: name at least two, as in --framework pytorch-ddp,tf-horovod")
    return made


def plan_point(request: Request) -> Plan:
    """Return the plan of one combination of settings; UsageError if something does not exist or fit."""
    return plan_rounds(ask_matrix(Job, request), request, asked={"verify": request.own.verify})


def in_rounds(request: Request) -> Request:
    """Return a request that is repeated, in as few rounds as can be judged where nobody says."""
    known = request.repetition
    repeated = known.least > 1 or known.until_decided is not None
    return request if repeated else replace(request, repetition=replace(known, rounds=LEAST_ROUNDS))


JOB, OWN = Job, Own
