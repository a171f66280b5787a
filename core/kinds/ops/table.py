"""Operators side by side as a table, and where the time of a network's step goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.machine.measured import REMEDY
from dlcompare.core.reports.proof import opening
from dlcompare.core.reports.roofline.shares import share_at
from dlcompare.core.reports.sections.energy import spent_parts
from dlcompare.core.reports.text import WIDE, columns, interval, number, plain_table, remarks, state, to_text

from .layers import layer_parts
from .request import FORWARD, STEP
from .result import OpsRecord, Timed

NO_PEAK = (f"of peak: the share of what this machine's matrix units give was not measured, for nobody has measured the "
           f"peak; do that once, with: {REMEDY}")


def render(records: Sequence[OpsRecord], *, remarked: bool = True) -> str:
    """Return the table as text as wide as the terminal (100 columns where there is none); ``remarked``: with warnings.
    """
    width = columns()
    rows = list(enumerate(records, start=1))
    return to_text([*parts(records, width), *(remarks(rows) if remarked else ())], width)


def parts(records: Sequence[OpsRecord], width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    yield from opening(records, proved=[one for record in records for one in record.parts()])
    rows = list(enumerate(records, start=1))
    named = [(n, one) for n, one in rows if not one.job.get("model")]
    if named:
        yield operators(named, width)
        yield from notes([one for _, one in named])
        yield from spent_parts([(str(place), f"{record.name} {one.name}", one.energy.get(STEP, ()))
                                for place, record in named for one in record.timed], ("#", "operator"), "call")
    yield from layer_parts([(n, one) for n, one in rows if one.job.get("model")], width)
    for place, record in rows:
        for one in record.timed:
            if one.reason:
                yield Text(f"\n{place} {record.name} {one.name} failed: {one.reason}", style="red")


def operators(rows: Sequence[tuple[int, OpsRecord]], width: int) -> Table:
    """Return the table of operators by name: a row for each in each record."""
    made = plain_table()
    made.add_column("#", justify="right")
    made.add_column("operator\nframework", overflow="fold")
    for what in ("forward", "step"):
        made.add_column(f"{what}, ms\nof peak", justify="right", no_wrap=True)
        made.add_column("GFLOP/s\n[95 %]", justify="right", no_wrap=True)
    made.add_column("status", no_wrap=width >= WIDE, width=None if width >= WIDE else len("verified"))
    names = dict.fromkeys(one.name for _, record in rows for one in record.timed) or {"": None}
    for name in names:
        for place, record in rows:
            one = next((timed for timed in record.timed if timed.name == name), None)
            if one is None and record.timed:
                continue
            what = name if one else record.model
            times = [*cells(record, one, FORWARD), *cells(record, one, STEP)] if one else ["-", "-"] * 2
            side = f"{what}\n{record.name}, {record.precision}, {threads(record)}"
            made.add_row(str(place), *map(Text, (side, *times)), state(record.alone(one) if one else record))
            if one is None:
                break
    return made


def cells(record: OpsRecord, one: Timed, what: str) -> list[str]:
    """Return an operator's milliseconds, GFLOP/s and share of the peak, forward or of a step."""
    seconds, rate = one.seconds(what), one.rate(what)
    if seconds is None:
        return ["-", "-"]
    told = f"{number(rate.value / 1e9)}\n{interval(low(rate.low), low(rate.high))}" if rate else "-"
    share = share_at(record, rate.value if rate else None)
    return [f"{number(1e3 * seconds)}\n{'-' if share is None else f'{100 * share:.0f} %'}", told]


def threads(record: OpsRecord) -> str:
    """Return how many threads a job had, in words."""
    count = record.job["threads"]
    return f"{count} thread{'s' * (count > 1)}"


def low(value: float | None) -> float | None:
    return None if value is None else value / 1e9


def notes(records: Sequence[OpsRecord]) -> Iterator[Text]:
    """Yield what the columns mean."""
    yield Text("\nforward: the pass to the loss, nothing kept; step: that, the gradients of parameters and of what is "
               "read, and the update: 3 times the operations. Both include the frame around the operator: a factor for "
               "each channel before it, the mean square behind it. Medians over windows; [] their 95 % bootstrap "
               "intervals.", style="dim")
    if all(one.bounds is None for one in records):
        yield Text(NO_PEAK, style="dim")
    else:
        yield Text("of peak: of the best rate that a framework reached in square matrix products on this machine, with "
                   "as many threads, in this precision.", style="dim")
