"""Operators and layers shown; of several rounds the verdicts first, then the table of all windows together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.records.energy import headline, over_rounds
from dlcompare.core.reports.forms import comparisons_as, records_as
from dlcompare.core.reports.record_csv import csv_text, row
from dlcompare.core.reports.sweeps import tables as sweeps

from . import table
from .request import PASSES
from .result import OpsRecord, Timed


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms, with verdicts where they are to be judged."""
    records: Sequence[OpsRecord] = answer.records
    parts = [part for one in records for part in one.parts()]
    if form == "table" and any(one.point for one in records):
        return f"{sweeps.render(parts, judging)}\n{table.render(together(records), remarked=False)}"
    if judging is None:
        return as_csv(records) if form == "csv" else records_as(form, records, table.render)
    text = comparisons_as(form, compare(parts, judging))
    return f"{text}\n{table.render(together(records), remarked=False)}" if form == "table" else text


def as_csv(records: Sequence[OpsRecord]) -> str:
    """Return a row for each operator, or network, of each record."""
    rows = [{**of_calls(row(part)), **dict(of_passes(part))} for one in records for part in one.parts()]
    return csv_text(dict.fromkeys(name for one in rows for name in one), rows)


def of_calls(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without what is told by the sample, which of these records is an operation."""
    return {name: value for name, value in found.items() if not name.startswith("joules_per_sample")}


def of_passes(record: OpsRecord) -> Iterator[tuple[str, Any]]:
    """Yield what is known of each pass of a record's only operator, or of its network's whole step."""
    one = record.timed[0] if record.timed else None
    bounds = record.bounds
    for what in PASSES:
        rate = one.rate(what) if one else None
        spent = headline(one.energy.get(what, ()), record.meters, record.devices, device=record.device) if one else None
        flops = one.flops_of(what) if one else 0
        yield f"{what}_s", one and one.seconds(what)
        yield f"{what}_FLOP_per_s", rate and rate.value
        yield f"{what}_share_of_peak", rate.value / bounds.peak.value if rate and bounds and bounds.peak else None
        yield f"{what}_joules_per_call", spent and spent.per_sample
        yield f"{what}_joules_per_FLOP", spent.per_sample / flops if spent and flops else None


def together(records: Sequence[OpsRecord]) -> list[OpsRecord]:
    """Return a record for each side at each point, with the windows of all its rounds that ended well."""
    sides: dict[tuple[Any, ...], list[OpsRecord]] = {}
    for one in records:
        if one.status == "ok":
            sides.setdefault((one.name, *one.point.items()), []).append(one)
    return [dataclasses.replace(several[0], timed=tuple(map(joined, zip(*(one.timed for one in several), strict=True))))
            for several in sides.values()]


def joined(rounds: Sequence[Timed]) -> Timed:
    """Return one operator with its windows of several rounds, and what these spent together."""
    return dataclasses.replace(rounds[0], forward=tuple(window for one in rounds for window in one.forward),
                               step=tuple(window for one in rounds for window in one.step),
                               energy={what: over_rounds([one.energy.get(what, ()) for one in rounds])
                                       for what in PASSES})
