"""Training until the test split is answered well enough, and how long that took."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Request, Tell
from dlcompare.core.kinds.training.request import Compiled

from . import request
from .request import TargetJob

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Circumstances

    from .result import TargetRankResult, TargetRecord


class TimeToAccuracy(Kind):
    """The same network trained to the same accuracy under several frameworks."""

    name = "time_to_accuracy"
    title = "time to train a network to an accuracy"
    selected_by = ("target",)
    job = TargetJob
    own = Compiled
    refused = ("steps", "windows")

    @property
    def rank(self) -> type[TargetRankResult]:
        from .result import TargetRankResult

        return TargetRankResult

    @property
    def record(self) -> type[TargetRecord]:
        from .result import TargetRecord

        return TargetRecord

    def plan(self, request_: Request) -> Plan:
        return request.plan(request_)

    def work(self, job: TargetJob, folder: Path, events: Events) -> None:
        from .worker import train

        train(job, folder, events)

    def fold(self, job: TargetJob, ranks: Sequence[TargetRankResult], folder: Path,
             about: Circumstances, tell: Tell) -> TargetRecord:
        from dlcompare.core.kinds.training.folding import finished, known

        from .result import missed

        target = ranks[0].target
        record: TargetRecord = finished(partial(self.outline, job, about), job, ranks,
                                        known(job, ranks, about, target=target),
                                        processes=self.runtime(job).processes(job))
        reason = missed(target) if record.status == "ok" else None
        return dataclasses.replace(record, status="failed", reason=reason, throughput=None) if reason else record

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        from .report import render

        return render(answer, form, judging)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [TimeToAccuracy()]
