"""What is asked of verification: frameworks held against the reference on small cases and one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.graph.model import Model
from dlcompare.core.kinds.kind import Request
from dlcompare.core.kinds.training.request import Compiled, settle
from dlcompare.core.plan.feasibility import refusal
from dlcompare.core.plan.matrix import matrix, require_names
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import COMPARED, MEASURED, TRAINS, Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.settings import setting

LARGEST = 64  # pixels: the side that a larger network's images get where nobody says, so that the reference is quick


@dataclass(frozen=True)
class VerificationJob(Job):
    """A backend observed on ``cases``, each by name; ``model`` among them is the job's own model.

    ``case`` and ``cases_only`` are how a user chose some of them, of which no certificate comes.
    ``cases_from`` is the certificate that tells of the tiny cases where this job leaves them out.
    """

    image_size: int | None = setting(None, group=COMPARED, least=1, metavar="PIXELS",
                                     help=f"Side of the square image; default: the network's own, {LARGEST} at most.")
    batch: int = setting(8, group=TRAINS, least=1, machine=True, side=True, metavar="N",
                         help="Samples per worker and step of the whole network; default 8, which keep the reference "
                              "quick.")
    case: tuple[str, ...] = setting((), group=MEASURED, metavar="NAME[,NAME...]",
                                    help="Hold frameworks against these cases alone ('model' is the whole network); "
                                         "leaves no certificate.")
    cases_only: bool = setting(False, group=MEASURED,
                               help="Leave the whole network out; leaves no certificate.")
    fail_fast: bool = setting(False, group=MEASURED, help="Stop at the first case that fails.")
    cases: tuple[str, ...] = ()
    cases_from: str | None = None
    kind: ClassVar[str] = "verification"
    command: ClassVar[str] = "dlcompare verify"

    def parts(self) -> tuple[str, ...]:
        return (*super().parts(), "verify")

    def reproduce(self, without: Collection[str] = ()) -> str:
        return f"{super().reproduce(without)} --check-workers {self.workers}"


def alike(job: VerificationJob) -> str:
    """Return a job as text, the same for all that the reference shows the same for."""
    return dataclasses.replace(job, framework="", execution=None, layout=None, threads=1, port=None, case=(), cases=(),
                               cases_only=False, fail_fast=False, cases_from=None).to_json()


def judged_by(plan: Plan, job: VerificationJob) -> list[tuple[str, str]]:
    """Return what a job and those after it in a plan are judged by: the whole networks among their cases, and alike."""
    from dlcompare.core.conformance.oracle import MODEL

    place = [one.id for one in plan.jobs].index(job.id)
    return [(MODEL, alike(one)) for one in plan.jobs[place:]
            if isinstance(one, VerificationJob) and MODEL in one.cases and one.id not in plan.refusals]


@dataclass(frozen=True)
class Own(Compiled):
    """What verification offers beside the fields of its job."""

    check_workers: tuple[int, ...] = setting((1, 2), group=MEASURED, metavar="N[,N...]",
                                             help="Numbers of workers to hold against one another.")


def plan(request: Request) -> Plan:
    """Return the plan that verifies every framework with each number of workers."""
    from dlcompare.core.conformance import cases

    for workers in request.own.check_workers:
        if workers < 1 or cases.BATCH % workers:
            raise UsageError(f"verification divides {cases.BATCH} samples among the workers: 1, 2 or 4, "
                             f"not {workers}")
    settings = {**with_small_images(settle(request)), "data": "synthetic"}  # which every network can read
    found = matrix(plugins(), VerificationJob, settings)
    asked = [settings.get("threads") or side.settings.get("threads") for side in found.sides]
    jobs = tuple(dataclasses.replace(job, workers=workers, cases=choose(job),
                                     threads=threads or max(1, job.threads // workers))  # all cores, between them
                 for workers in request.own.check_workers for job, threads in zip(found.jobs, asked, strict=True))
    sides = found.sides * len(request.own.check_workers)
    return dataclasses.replace(found, jobs=jobs, sides=sides).plan(
        {job.id: refusal(plugins(), job, found.graph) for job in jobs})


def choose(job: VerificationJob) -> tuple[str, ...]:
    """Return the cases of a job; UsageError if one was chosen that there is not."""
    from dlcompare.core.conformance.oracle import MODEL, names

    known = names(job)
    if job.case and job.cases_only:
        raise UsageError("--case names the cases, and --cases-only takes all but the whole network; leave one of them "
                         "out")
    for name in job.case:
        if name not in known:
            raise unknown("case", name, known)
    wanted = set(job.case) or {name for name in known if name != MODEL or not job.cases_only}
    return tuple(name for name in known if name in wanted)


def with_small_images(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with an image size, if the model reads images larger than the reference is quick with."""
    _, model = require_names({name: value for name, value in settings.items() if value is not None})
    if settings.get("image_size") is not None or side(plugins().model(model)) <= LARGEST:
        return dict(settings)
    return {**settings, "image_size": LARGEST}


def side(model: Model) -> int:
    """Return the side of the images that a model declares; 0 if it reads none."""
    return max(model.inputs["image"].shape[1:]) if "image" in model.inputs else 0


JOB, OWN = VerificationJob, Own
