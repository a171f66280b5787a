"""Operators and layers shown."""

from __future__ import annotations

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.reports.forms import comparisons_as, records_as

from . import table


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms, with verdicts where they are to be judged."""
    if judging is None or form == "table":
        return records_as(form, answer.records, table.render)
    return comparisons_as(form, compare([part for one in answer.records for part in one.parts()], judging))
