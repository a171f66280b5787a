"""Training records shown: side by side, or judged as the comparison that rounds amount to."""

from __future__ import annotations

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.published.report import beside
from dlcompare.core.reports.forms import comparisons_as, records_as
from dlcompare.core.reports.sweeps import tables as sweeps
from dlcompare.core.reports.sweeps.cells import cells
from dlcompare.core.reports.text import columns, to_text

from . import table


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records, and the explanation of a gap if there is one, in one of the forms."""
    text = shown(answer, form, judging)
    more = [*sweeps.largest(list(enumerate(cells(answer.records), start=1))), *beside(answer.records)]
    return f"{text}\n{to_text(more, columns())}" if more and form == "table" else text


def shown(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return what was measured, side by side or judged, or as a sweep."""
    if form == "table" and any(record.point for record in answer.records):
        return sweeps.render(answer.records, judging)
    if judging is None:
        return records_as(form, answer.records, table.render)
    found = [*compare(answer.records, judging), *(compare(answer.more) if answer.more and form != "table" else ())]
    return comparisons_as(form, found, answer.explanation)
