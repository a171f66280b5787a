"""What this machine can do: measured once, kept under its fingerprint, and put beside every number since."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run
from dlcompare.core.plugins.runtime import Runtime

if TYPE_CHECKING:
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Record

    from .request import MachineJob


class Machine(Kind):
    """Measure what this machine can do: matrix units, memory, disk, copies, exchange between processes, idle power.

    It is measured once and kept until the machine, its limits or its drivers change; records made from then on carry
    how near they come to it. Seconds of a quiet machine: what others do meanwhile is noticed, and measured again.
    """

    name = "machine"
    title = "what this machine can do"
    command = "machine"
    refused = ("probe", "threads")
    repeats = False
    forms = ("table", "json")

    def runtime(self, job: MachineJob) -> Runtime:
        found: Runtime = self.part("request").Interpreter()
        return found

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        """Return what is known of this machine; it is measured if nothing is, or if that was asked for."""
        from dlcompare.core.machine.measured import known

        self.part("request").check(request.own)
        points = self.part("report").points_of(request.own.points)
        found = None if request.own.again else known()
        if found and self.part("request").is_more(request.own, found):
            found = None
        records = [] if found else carry_out(self.plan(request))
        answer = Answer(records, explanation=found)
        if not request.own.plot:
            return answer
        from dlcompare.core.reports.roofline.figure import draw
        from dlcompare.core.reports.sweeps.drawing import attempt

        return dataclasses.replace(answer, missed=attempt(
            lambda: draw(self.part("report").measured_of(answer), request.own.plot, points)))

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        yield from self.part("conclusion").conclude(self, plan, run, records)

    def passed(self, records: Sequence[Any]) -> bool:
        """Return whether all was measured that this machine has; what it has not is refused, and no failure."""
        return all(record.status != "failed" and not record.disturbed for record in records)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Machine()]
