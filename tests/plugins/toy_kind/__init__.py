"""A plug-in that offers a whole kind of measurement: how fast Python copies memory, in one way and another.

Few lines with all that a kind has: a request, real windows, a record with a unit and a caveat of its own, a cell that
is refused, rounds and a verdict. Nothing of dlcompare knows that it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Request, Tell

from .request import Interpreter, ToyJob, plan

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.plugins.runtime import Runtime
    from dlcompare.core.records.record import Circumstances

    from .result import RankResult, ToyRecord


class Toy(Kind):
    """How fast memory is copied."""

    name = "toy"
    title = "memory copied by Python, in several ways"
    command = "toy"
    job = ToyJob

    @property
    def rank(self) -> type[RankResult]:
        from .result import RankResult

        return RankResult

    @property
    def record(self) -> type[ToyRecord]:
        from .result import ToyRecord

        return ToyRecord

    def runtime(self, job: ToyJob) -> Runtime:
        return Interpreter()

    def plan(self, request: Request) -> Plan:
        return plan(request)

    def work(self, job: ToyJob, folder: Path, events: Events) -> None:
        from .worker import copy

        copy(job, folder, events)

    def fold(self, job: ToyJob, ranks: Sequence[RankResult], folder: Path, about: Circumstances,
             tell: Tell) -> ToyRecord:
        from .result import folded

        return folded(self.outline(job, about, status="ok", windows=ranks[0].windows))

    def words(self) -> Mapping[str, Callable[[Mapping[str, Any]], str]]:
        from .report import WORDS

        return WORDS

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        from .report import render

        return render(answer, form, judging)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Toy()]
