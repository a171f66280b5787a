"""Training throughput under the window protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Request, Tell
from dlcompare.core.plugins.job import Job

from . import request

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Circumstances, Record

    from .result import RankResult, TrainingRecord


class Training(Kind):
    """The same network trained under several frameworks, for throughput."""

    name = "training"
    title = "training throughput of a network under several frameworks"
    job = Job
    own = request.Own

    @property
    def rank(self) -> type[RankResult]:
        from .result import RankResult

        return RankResult

    @property
    def record(self) -> type[TrainingRecord]:
        from .result import TrainingRecord

        return TrainingRecord

    def plan(self, request_: Request) -> Plan:
        return request.plan(request_)

    def answer(self, request_: Request, carry_out: Callable[[Plan], list[Record]]) -> Answer:
        plan = self.plan(request_)
        records: list[Any] = carry_out(plan)
        if not request_.own.explain:
            return Answer(records)
        from .explanation import explain

        return explain(plan, records, carry_out)

    def work(self, job: Job, folder: Path, events: Events) -> None:
        from .worker import train

        train(job, folder, events)

    def fold(self, job: Job, ranks: Sequence[RankResult], folder: Path, about: Circumstances,
             tell: Tell) -> TrainingRecord:
        from .folding import finished, known

        return finished(partial(self.outline, job, about), job, ranks, known(job, ranks, about),
                        processes=self.runtime(job).processes(job))

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        from .report import render

        return render(answer, form, judging)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Training()]
