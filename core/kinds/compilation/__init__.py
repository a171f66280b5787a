"""A train step compiled for devices that need not be here, and what the compiler says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Request, Tell

from . import request
from .request import CompilationJob, Own

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Circumstances

    from .result import CompilationRecord, RankResult


class Compilation(Kind):
    """A train step compiled ahead of time, with memory, cost, collectives, and a bound from published peaks."""

    name = "compilation"
    title = "a train step compiled for devices that need not be here"
    selected_by = ("compile_only", "topology")
    job = CompilationJob
    own = Own
    repeats = False
    forms = ("table", "json")

    @property
    def rank(self) -> type[RankResult]:
        from .result import RankResult

        return RankResult

    @property
    def record(self) -> type[CompilationRecord]:
        from .result import CompilationRecord

        return CompilationRecord

    def plan(self, request_: Request) -> Plan:
        return request.plan(request_)

    def results(self, job: CompilationJob) -> int:
        return 1

    def work(self, job: CompilationJob, folder: Path, events: Events) -> None:
        from .worker import compile_only

        compile_only(job, folder, events)

    def fold(self, job: CompilationJob, ranks: Sequence[RankResult], folder: Path,
             about: Circumstances, tell: Tell) -> CompilationRecord:
        record: CompilationRecord = self.outline(job, about, status="ok", compiled=ranks[0].compiled)
        return record

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        from .report import render

        return render(answer.records, form)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Compilation()]
