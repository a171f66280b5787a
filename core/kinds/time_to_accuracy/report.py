"""Times to an accuracy shown: as training is, and how long each took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.kinds.training import report
from dlcompare.core.printable import printable
from dlcompare.core.records.energy import Spent

from .result import Target, TargetRecord


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms."""
    text = report.render(answer, form, judging)
    if form != "table":
        return text
    lines = [describe(name, record.target) + "".join(f"; {joules(one)}" for one in record.energy_to_target)
             for name, record in label_rows(answer.records, judging) if record.target and record.target.reached]
    return "\n".join([text.rstrip("\n"), *(f"\n{printable(line)}" for line in lines)])


def label_rows(records: Sequence[TargetRecord], judging: Judging | None) -> Iterator[tuple[str, TargetRecord]]:
    """Yield records with what the table above calls them: by row, or where a row is of several rounds, by round."""
    for number, record in enumerate(records, start=1):
        of_round = "" if record.round is None else f", round {record.round + 1}"
        yield f"{number} {record.name}" if judging is None else f"{record.name}{of_round}", record


def joules(one: Spent) -> str:
    """Return what one scope took, and how surely its beginning and end are told from what lies around."""
    sure = f" within {100 * one.edge:.2g} %" if one.edge else ""
    return f"{one.scope} took {one.per_sample:,.4g} J{sure} by its {one.method}, {one.watts:.4g} W on average"


def describe(name: str, target: Target) -> str:
    """Return how long training to an accuracy took."""
    return (f"{name}: {target.quantity} {target.value:.4f} (target {target.wanted:g}) after {target.seconds:.1f} s, "
            f"{target.epochs} epochs, {target.samples:,} samples; of the time, {target.evaluation_seconds:.1f} s went "
            f"into {target.epochs} examinations on {target.test_samples} test samples")
