"""Operators timed alone through each framework: FLOP/s of one, or where the time of a network's step goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Prepared, Request, Run

if TYPE_CHECKING:
    from dlcompare.core.judging.judging import Judging
    from dlcompare.core.judging.verdict import Comparison
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Record


class Ops(Kind):
    """Time operators alone, forward and as a training step, under several frameworks.

    Each is a network of one layer that goes through the same backends as any other. --op names operators; --from-model
    takes the distinct layers of a network with its whole step, and says where the time goes.
    """

    name = "ops"
    title = "operators timed alone, and where a step's time goes"
    command = "ops"
    sweeps = True
    # One process, with invented samples; each layer's step is the same whatever the learning rate.
    refused = ("data", "weights", "workers", "loaders", "pipeline", "on_bad_sample", "lr", "schedule",
               "optimiser", "momentum", "weight_decay", "decay", "clip", "steps", "save", "port")
    room = 4 << 20

    def answer(self, request: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        from dlcompare.core.reports.sweeps.asked import draw, to_draw  # late: it is for those who ask for a figure

        plan = self.plan(request)
        drawn = to_draw(request.own.plot, plan)
        records: list[Any] = carry_out(plan)
        return Answer(records, missed=draw(self.cells(records), drawn))

    def cells(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return a record for each operator of each record, and for each network."""
        return [part for record in records for part in record.parts()]

    def conclude(self, plan: Plan, run: Run, records: Sequence[Any], prepared: Prepared) -> Iterator[Record]:
        from .proof import prove

        yield from prove(plan, run, records)

    def passed(self, records: Sequence[Any]) -> bool:
        """Return whether all ran, every operator of each, and none computes something else than the reference."""
        return (super().passed(records) and all(one.verified["passed"] for each in records for one in each.proved)
                and not any(timed.reason for one in records for timed in one.timed))

    def compare(self, records: Sequence[Any], judging: Judging) -> list[Comparison]:
        """Return what may be concluded of each operator by itself, and of networks' whole steps."""
        return super().compare(self.cells(records), judging)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Ops()]
