"""Collectives through each framework's own engine: time and bandwidth by size, every payload checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Comparison
    from dlcompare.core.machine.collectives import Line
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.alpha_beta import AlphaBeta
    from dlcompare.core.records.circumstances import Circumstances
    from dlcompare.core.records.record import Record

    from .request import Own


class Comm(Kind):
    """Measure collectives through each framework's own engine.

    Every size is run between real processes, the slowest rank's time counts, and every result is checked on every rank.
    With --rounds also a verdict for each size.
    """

    name = "comm"
    title = "collectives through each framework's own engine"
    command = "comm"
    sweeps = True
    room = 4 << 20

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        from dlcompare.core.reports.sweeps import asked, drawing  # late: it is for those who ask for a figure

        own: Own = request.own
        plan = self.plan(request)
        plot = Path(own.plot) if own.plot else None
        if plot:
            drawing.check(plot)
        others = self.part("nccl").read_all(own.nccl_tests)
        records: list[Any] = carry_out(plan)
        if plan.points:
            missed = asked.draw(self.cells(records), plot)
        else:
            missed = drawing.attempt(lambda: self.part("figure").draw(records, plot, others)) if plot else ""
        return Answer(records, others, missed=missed)

    def cells(self, records: Sequence[Any]) -> Sequence[Any]:
        return self.part("result").carried(records)

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        prepared: Prepared = self.part("preparation").Preparation(run)
        return prepared

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        """Keep the lines of these records for the bounds of trainings on this machine."""
        from dlcompare.core.machine import collectives

        for record in records:
            if record.status == "ok" and record.line and record.system:
                made = line_of(record, record.line)
                collectives.keep(record.system, [made] if made.met else [])
        yield from ()

    def outline(self, job: Any, about: Circumstances, *, status: str, reason: str | None = None,
                **more: Any) -> Any:
        bare = dataclasses.replace(job, messages={})  # the record has them in a field of its own
        return super().outline(bare, about, status=status, reason=reason, id=job.id, messages=job.messages, **more)

    def compare(self, records: Sequence[Any], judging: Judging) -> list[Comparison]:
        sized = [one for record in records for one in record.by_size()]
        return super().compare(sized, judging) if sized else []

    def passed(self, records: Sequence[Any]) -> bool:
        return super().passed(records) and not any(one.refused for record in records for one in record.sizes)


def line_of(record: Any, line: AlphaBeta) -> Line:
    """Return the line of a record, as it is kept of this machine."""
    from dlcompare.core.machine.collectives import Line
    from dlcompare.core.machine.measured import spoken
    from dlcompare.core.records.alpha_beta import POOR

    met = tuple(one.size for one in record.best if not one.disturbed
                and abs(line.residuals.get(str(one.size), 0.0) - 1) <= POOR)
    return Line(record.framework, spoken(record.environment), record.device, record.collective, record.workers,
                record.job["threads"], line.alpha, line.beta, tuple(one.size for one in record.best), met, record.run,
                record.started)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Comm()]
