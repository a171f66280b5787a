"""Training throughput under the window protocol."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import NEUTRAL
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run

if TYPE_CHECKING:
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.plugins.job import Job
    from dlcompare.core.records.record import Record


class Proving(Kind):
    """A kind whose records are proved when all have been measured."""

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        from .proof import prove

        yield from prove(plan, run, records)

    def passed(self, records: Sequence[Any]) -> bool:
        """Return whether all ran, and none was found to compute something else than the reference."""
        return super().passed(records) and all(record.verified["passed"] for record in records if record.verified)


class Training(Proving):
    """The same network trained under several frameworks, for throughput."""

    name = "training"
    title = "training throughput of a network under several frameworks"
    sweeps = True

    def together(self, job: Job) -> Hashable:
        """Return the network where several processes hold it side by side: not on an accelerator, whose memory is one's
        own, nor at a port that was named, nor with the largest batch that memory holds; nor with a pipeline of its
        own, which goes on to fill a stock of unknown size while others have their windows, and then feeds from it.
        """
        beside = job.device == "cpu" and job.port is None and not job.largest and job.pipeline == NEUTRAL
        return (job.model, job.image_size) if beside else None

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        from dlcompare.core.reports.sweeps.asked import draw, to_draw  # late: it is for those who ask for a figure

        plan = self.plan(request)
        drawn = to_draw(request.own.plot, plan)
        records: list[Any] = carry_out(plan)
        if request.own.explain:
            found: Answer = self.part("explanation").explain(plan, records, carry_out)
            return found
        return Answer(records, missed=draw(records, drawn))

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        from .largest import with_largest

        return lambda job: with_largest(run, job)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Training()]
