"""A backend held against the float64 reference, judged, and certified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Answer, Kind, Request, Tell

from .request import Own, VerificationJob

if TYPE_CHECKING:
    from dlcompare.core.judging.verdict import Judging
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plan.plan import Plan
    from dlcompare.core.records.record import Circumstances

    from .result import RankResult, VerificationRecord


class Verification(Kind):
    """Hold frameworks against the float64 reference and write certificates.

    Forward, loss, gradients, parameters and running statistics after several steps, evaluation, one worker and
    several. Small images keep the reference quick: --image-size defaults to 64 here where the network's is larger.
    """

    name = "verification"
    title = "frameworks held against the float64 reference"
    command = "verify"
    job = VerificationJob
    own = Own
    # The learning rate changes at each step, samples are synthetic and few; --check-workers says how many workers.
    refused = ("workers", "data", "loaders", "lr", "schedule", "momentum", "weight_decay", "steps", "windows", "save")
    repeats = False
    forms = ("table", "json")

    @property
    def rank(self) -> type[RankResult]:
        from .result import RankResult

        return RankResult

    @property
    def record(self) -> type[VerificationRecord]:
        from .result import VerificationRecord

        return VerificationRecord

    def plan(self, request: Request) -> Plan:
        from .request import plan

        return plan(request)

    def work(self, job: VerificationJob, folder: Path, events: Events) -> None:
        from .worker import verify

        verify(job, folder, events)

    def fold(self, job: VerificationJob, ranks: Sequence[RankResult], folder: Path, about: Circumstances,
             tell: Tell) -> VerificationRecord:
        from dlcompare.core.conformance import certificate

        from .judge import judged

        checks, divergence = judged(job, folder, lambda number, name: tell(
            job, {"phase": "judge", "case": name, "done": number}))
        path = certificate.save(certificate.make(job, checks, ranks[0].versions, divergence), folder.parent)
        record: VerificationRecord = self.outline(job, about, status="ok", checks=checks, first_divergence=divergence,
                                                  certificate=str(path), environment=ranks[0].versions)
        return record

    def passed(self, records: Sequence[Any]) -> bool:
        return all(record.passed for record in records)

    def report(self, answer: Answer, form: str, judging: Judging | None) -> str:
        from .report import render

        return render(answer.records, form)


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Verification()]
