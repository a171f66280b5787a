"""What is asked of the toy: ways of copying, and how much at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.kinds.kind import Request
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import COMPARED, MEASURED, BaseJob
from dlcompare.core.plugins.runtime import Runtime
from dlcompare.core.settings import setting

WAYS = ("forwards", "backwards", "device")
REFUSALS = {"device": "device copies between GPUs, and a toy has none; use --way forwards or backwards"}


class Interpreter(Runtime):
    """Runs a job in the interpreter that runs dlcompare."""

    name = "python"


@dataclass(frozen=True)
class ToyJob(BaseJob):
    """One way of copying memory."""

    way: str = setting(group=COMPARED, told=True, metavar="NAME[,NAME...]", help="Forwards, backwards.")
    megabytes: int = setting(8, group=MEASURED, least=1, told=True, metavar="N", help="Copied at a time, in MB.")
    windows: int = setting(5, group=MEASURED, least=1, told=True, metavar="N", help="Windows to measure.")
    kind: ClassVar[str] = "toy"
    command: ClassVar[str] = "dlcompare toy"

    @property
    def runtime(self) -> str:
        return self.way

    def parts(self) -> tuple[str, ...]:
        return (self.way, f"{self.megabytes}mb")

    def identity(self) -> dict[str, Any]:
        return {"framework": self.way, "megabytes": self.megabytes}


def plan(request: Request) -> Plan:
    """Return a job for each way; UsageError for one that does not exist, or if none was named."""
    if "way" not in request.settings:
        raise UsageError("--way must be given, as in: dlcompare toy --way forwards,backwards")
    ways = [way.strip() for way in request.settings["way"].split(",")]
    for way in ways:
        if way not in WAYS:
            raise unknown("way", way, WAYS)
    jobs = tuple(ToyJob(**{**request.settings, "way": way}) for way in ways)
    request.judging.check(ways)
    refusals = {job.id: REFUSALS[job.way] for job in jobs if job.way in REFUSALS}
    return Plan("toy", jobs, refusals, rounds=request.repetition.least, until=request.repetition.until_decided,
                judging=request.judging)
