"""Records of inference shown: tables for people, JSON and CSV for programs, verdicts where there were rounds."""

from __future__ import annotations

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.reports.sweeps.tables import by_axis
from dlcompare.core.reports.text import columns, to_text
from dlcompare.inference.results.data import as_csv, as_json
from dlcompare.inference.results.rows import summaries
from dlcompare.inference.results.tables import render as tables
from dlcompare.inference.results.verdicts import comparisons, verdict_table


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records, and what may be concluded from their rounds, in one of the forms."""
    runs = summaries(answer.records)
    found = comparisons(answer.records, judging) if judging else []
    if form == "csv":
        return as_csv(runs)
    if form == "json":
        return as_json(runs, found if len(runs) == 1 else ())
    swept = [record for record in answer.records if record.point]
    more = [*by_axis(swept), *(verdict_table(found) if found else ())]
    return f"{tables(*runs)}{to_text(more, columns()) if more else ''}"
