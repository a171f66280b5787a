"""Times to an accuracy shown: as training is, and how long each took."""

from __future__ import annotations

from dlcompare.core.judging.verdict import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.kinds.training import report

from .result import Target, TargetRecord


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms."""
    text = report.render(answer, form, judging)
    rows = [(number, record) for number, record in enumerate(answer.records, start=1)]
    lines = [went(number, record, record.target) for number, record in rows if record.target and record.target.reached]
    return text if form != "table" else "\n".join([text.rstrip("\n"), *(f"\n{line}" for line in lines)])


def went(number: int, record: TargetRecord, target: Target) -> str:
    """Return how long training to an accuracy took."""
    return (f"{number} {record.name}: {target.quantity} {target.value:.4f} (target {target.wanted:g}) after "
            f"{target.seconds:.1f} s, {target.epochs} epochs, {target.samples:,} samples; of the time, "
            f"{target.evaluation_seconds:.1f} s went into {target.epochs} examinations on {target.test_samples} test "
            "samples")
