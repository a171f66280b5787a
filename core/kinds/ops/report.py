"""Operators and layers shown; of several rounds the verdicts first, then the table of all windows together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.reports.forms import comparisons_as, records_as

from . import table
from .result import OpsRecord, Timed


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms, with verdicts where they are to be judged."""
    if judging is None:
        return records_as(form, answer.records, table.render)
    text = comparisons_as(form, compare([part for one in answer.records for part in one.parts()], judging))
    return f"{text}\n{table.render(together(answer.records), remarked=False)}" if form == "table" else text


def together(records: Sequence[OpsRecord]) -> list[OpsRecord]:
    """Return a record for each side, with the windows of all its rounds that ended well."""
    sides: dict[str, list[OpsRecord]] = {}
    for one in records:
        if one.status == "ok":
            sides.setdefault(one.name, []).append(one)
    return [dataclasses.replace(several[0], timed=tuple(map(joined, zip(*(one.timed for one in several), strict=True))))
            for several in sides.values()]


def joined(rounds: Sequence[Timed]) -> Timed:
    """Return one operator with its windows of several rounds."""
    return dataclasses.replace(rounds[0], forward=tuple(window for one in rounds for window in one.forward),
                               step=tuple(window for one in rounds for window in one.step))
