"""Which engine is faster, and what each precision buys within one engine: verdicts at every batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dlcompare.core.judging.verdict import Comparison, Judging, compare

from .result import InferenceRecord


def comparisons(records: Sequence[InferenceRecord], judging: Judging) -> list[Comparison]:
    """Return the comparisons that records of speed amount to.

    With a baseline all sides are compared to it; otherwise engines at one precision, and the precisions of one engine,
    where there are several of them.
    """
    timed = [record for record in records if record.task == "measure"]
    if judging.baseline is not None:
        return compare(timed, judging)
    return [one for group in groups(timed) for one in compare(group, judging)]


def groups(records: Sequence[InferenceRecord]) -> Iterator[list[InferenceRecord]]:
    """Yield records that are compared with one another, where there are at least two sides."""
    for name in ("precision", "framework"):
        for value in dict.fromkeys(getattr(record, name) for record in records):
            found = [record for record in records if getattr(record, name) == value]
            if len({record.name for record in found}) > 1:
                yield found
