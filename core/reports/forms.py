"""The forms that records and comparisons are printed in: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.verdict import Comparison
from dlcompare.core.records.record import Record

from . import record_csv, verdicts, verdicts_data
from .sections.energy import energy_parts
from .text import columns, heading, interval, number, plain_table, remarks, state, to_text


def records_as(form: str, records: Sequence[Any], table: Callable[[Sequence[Any]], str] | None = None) -> str:
    """Return records in one of the forms; ``table`` is their kind's own, if it has one."""
    table = table or as_table
    forms: dict[str, Callable[[Sequence[Record]], str]] = {
        "table": table, "json": as_json, "csv": record_csv.render}
    return forms[form](records)


def comparisons_as(form: str, comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return comparisons in one of the forms."""
    forms = {"table": verdicts.render, "json": verdicts_data.as_json, "csv": verdicts_data.as_csv}
    return forms[form](comparisons, explanation)


def as_json(records: Sequence[Record]) -> str:
    """Return the records as a JSON list; ``run.stored`` reads it back."""
    return json.dumps([record.to_dict() for record in records], indent=1, allow_nan=False) + "\n"


def as_table(records: Sequence[Record]) -> str:
    """Return the records of any kind as a table: who, under which conditions, how fast; below it what went wrong."""
    width = columns()
    return to_text(table_parts(records), width)


def table_parts(records: Sequence[Record]) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    made, rows = plain_table(), list(enumerate(records, start=1))
    for name in ("#", "framework", "conditions", records[0].unit, "95 % interval", "status"):
        made.add_column(name, overflow="fold")
    for place, record in rows:
        rate = record.throughput
        speed = [number(rate.value), interval(rate.low, rate.high)] if rate else ["-", ""]
        cells = [record.name, record.conditions, *speed]
        made.add_row(str(place), *map(Text, cells), state(record))
    yield Text(heading(records))
    yield made
    yield Text(f"\n{records[0].unit}: median over windows, with its 95 % bootstrap interval.", style="dim")
    yield from energy_parts([(place, record.name, [record]) for place, record in rows])
    yield from remarks(rows)
