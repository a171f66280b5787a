"""Training throughput under the window protocol."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.data.stream import NEUTRAL
from dlcompare.core.errors import UsageError
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
        plan = self.plan(request)
        drawn = to_draw(request.own.plot, plan)
        records: list[Any] = carry_out(plan)
        if request.own.explain:
            found: Answer = self.part("explanation").explain(plan, records, carry_out)
            return found
        return Answer(records, missed=draw(records, drawn) if drawn else "")

    def prepare(self, plan: Plan, run: Run) -> Prepared:
        from .largest import with_largest

        return lambda job: with_largest(run, job)


def draw(records: list[Any], file: Path) -> str:
    """Draw a sweep; return why that cannot be done."""
    from dlcompare.core.reports.sweeps import drawing, figure

    return drawing.attempt(lambda: figure.draw(records, file))


def to_draw(plot: str | None, plan: Plan) -> Path | None:
    """Return the file that a plan is to be drawn in, None for none; UsageError, before it starts, if that cannot be."""
    if plot is None:
        return None
    from dlcompare.core.reports.sweeps.drawing import check

    check(Path(plot))
    if not plan.points:
        raise UsageError("--plot draws a sweep; give a setting several values, as in --batch 8,16,32")
    return Path(plot)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Training()]
