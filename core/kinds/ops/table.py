"""Operators side by side as a table: a row for each operator and framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.reports.text import columns, heading, number, plain_table, remarks, to_text

from .result import FORWARD, STEP, OpsRecord, Timed


def render(records: Sequence[OpsRecord]) -> str:
    """Return the table as text."""
    return to_text(parts(records), columns())


def parts(records: Sequence[OpsRecord]) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    if not records:
        yield Text("no records")
        return
    yield Text(heading(records))
    made = plain_table()
    for name in ("operator", "framework"):
        made.add_column(name, overflow="fold")
    for name in ("forward ms", "GFLOP/s", "step ms", "GFLOP/s"):
        made.add_column(name, justify="right")
    for name in dict.fromkeys(one.name for record in records for one in record.timed):
        for record in records:
            for one in record.timed:
                if one.name == name:
                    made.add_row(name, record.name, *times(one, FORWARD), *times(one, STEP))
    yield made
    yield from remarks(list(enumerate(records, start=1)))


def times(one: Timed, what: str) -> list[str]:
    """Return an operator's milliseconds and GFLOP/s."""
    seconds, rate = one.seconds(what), one.rate(what)
    return [number(seconds and 1e3 * seconds), number(rate.value / 1e9 if rate else None)]
