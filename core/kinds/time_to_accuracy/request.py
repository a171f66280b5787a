"""What is asked of time to accuracy: an accuracy to train to, in at most so many epochs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from dlcompare.core.errors import UsageError
from dlcompare.core.graph.model import Model
from dlcompare.core.kinds.kind import Request
from dlcompare.core.kinds.training.request import Proved, ask_matrix, plan_rounds
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import MEASURED, Job
from dlcompare.core.settings import setting


@dataclass(frozen=True)
class TargetJob(Job):
    """A training job that goes on until the test split is answered well enough. ``target`` is as in ``top1=0.97``."""

    target: str = setting("", group=MEASURED, told=True, metavar="top1=SHARE",
                          help="Train to this accuracy on the test split, as in top1=0.97, instead of for some "
                               "windows.")
    max_epochs: int = setting(100, group=MEASURED, least=1, metavar="N", help="Give a target up after so many.")
    kind: ClassVar[str] = "time_to_accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        top1(self)

    def parts(self) -> tuple[str, ...]:
        return (*super().parts(), "target")


def top1(job: TargetJob) -> float:
    """Return the top-1 accuracy to train to, as a share of 1; UsageError if the target does not parse."""
    quantity, _, value = job.target.partition("=")
    with contextlib.suppress(ValueError):
        if quantity == "top1" and 0 < float(value) <= 1:
            return float(value)
    raise UsageError(f"a target is top1=SHARE, a share above 0 and at most 1, as in top1=0.97, not {job.target!r}")


def plan(request: Request) -> Plan:
    """Return the plan of a comparison of times to an accuracy; UsageError if nobody can measure that accuracy."""
    found = ask_matrix(TargetJob, request)
    for job in found.jobs:
        check_measurable(found.model, job)
    return plan_rounds(found, request, asked={"verify": request.own.verify})


def check_measurable(model: Model, job: TargetJob) -> None:
    """Raise UsageError if a job is to reach an accuracy that nobody can measure."""
    if model.task != "classification":
        raise UsageError(f"--target {job.target} needs a network that classifies; {model.name} does {model.task}")
    if job.data.partition(":")[0] == "synthetic":
        raise UsageError(f"--target {job.target} needs real data, such as --data digits: the labels of synthetic data "
                         "are drawn at random")


JOB, OWN = TargetJob, Proved
