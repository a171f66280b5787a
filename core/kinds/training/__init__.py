"""Training throughput under the window protocol."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run
from dlcompare.core.plugins.job import Job

from .request import Own

if TYPE_CHECKING:
    from dlcompare.core.plan.plan import Plan
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
    job = Job
    own = Own

    def together(self, job: Job) -> Hashable:
        """Return the network where several processes hold it side by side: not on an accelerator, whose memory is one's
        own, nor at a port that was named.
        """
        return (job.model, job.image_size) if job.device == "cpu" and job.port is None else None

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        plan = self.plan(request)
        records: list[Any] = carry_out(plan)
        return self.part("explanation").explain(plan, records, carry_out) if request.own.explain else Answer(records)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Training()]
