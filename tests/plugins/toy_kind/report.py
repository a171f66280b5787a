"""Toy records shown, in the spine's own tables; the words for the caveat that is this kind's own."""

from __future__ import annotations

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.reports.forms import comparisons_as, records_as

WORDS = {"toy cache": lambda v: f"{v['megabytes']} MB may have stayed in the processor's cache; raise --megabytes"}


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms, with verdicts where they are to be judged."""
    return records_as(form, answer.records) if judging is None else comparisons_as(
        form, compare(answer.records, judging))
