"""The main table of the table report: a row for each record, numbers with their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from dlcompare.core.records.record import Record

WIDE = 120  # columns from which framework, model and precision stand in columns of their own
Kind = tuple[str, str, int | None]


@dataclass(frozen=True)
class Layout:
    """What all rows of one table share: its width, the base of each kind's ratio, the unit of arithmetic."""

    wide: bool
    base: Mapping[Kind, float]
    flops: tuple[float, str]


def results(rows: Sequence[tuple[int, Record]], width: int) -> Table:
    """Return the main table; narrow terminals get two lines a row instead of more columns."""
    records = [record for _, record in rows]
    layout = Layout(width >= WIDE, baselines(records), flops_unit(records))
    wide = layout.wide
    table = plain_table()
    table.add_column("#", justify="right")
    for name in ("framework", "model", "precision") if wide else ("framework\nmodel",):
        table.add_column(name, overflow="fold")
    numbers = ("samples/s", "95 % interval") if wide else ("samples/s\n[95 %]",)
    for name in ("workers\nx batch", *numbers, "step\nms", "ratio", layout.flops[1]):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=wide, width=None if wide else len("verified"))
    for number_, record in rows:
        table.add_row(str(number_), *map(Text, cells(record, layout)), state(record))
    return table


def plain_table() -> Table:
    """Return an empty table with a rule under its header and no frame."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def cells(record: Record, layout: Layout) -> list[str]:
    """Return a record's cells between number and status."""
    rate, times, base = record.throughput, record.step_time, layout.base.get(kind(record))
    names = [record.name, record.model, record.precision]
    speed = ["-", ""] if rate is None else [number(rate["value"]), interval(rate["low"], rate["high"])]
    flops = record.flops_per_second
    return [
        *(names if layout.wide else [f"{names[0]}\n{names[1]} {names[2]}"]),
        f"{record.workers} x {record.batch_per_worker}",
        *(speed if layout.wide else ["\n".join(speed)]),
        number(times and times["median"] * 1e3),
        "-" if rate is None or base is None else f"{rate['value'] / base:.3f}",
        number(flops and flops / layout.flops[0]),
    ]


def kind(record: Record) -> Kind:
    """Return what a ratio of throughputs needs to have in common."""
    return record.model, record.dataset, record.image_size


def baselines(records: Sequence[Record]) -> dict[Kind, float]:
    """Return by kind the throughput of its first record that ran."""
    return {kind(r): r.throughput["value"] for r in reversed(records) if r.throughput}


def flops_unit(records: Sequence[Record]) -> tuple[float, str]:
    """Return the unit in which the largest rate of arithmetic has few digits, and its name."""
    most = max((record.flops_per_second or 0.0 for record in records), default=0.0)
    return (1e12, "TFLOP/s") if most >= 1e13 else (1e9, "GFLOP/s")


def state(record: Record) -> Text:
    """Return the last cell: whether it ran, and whether it was proved right."""
    if record.status != "ok":
        return Text(record.status, style="red" if record.status == "failed" else "dim")
    if not record.verified:
        return Text("ok, not verified", style="yellow")
    return Text("ok, verified", style="green") if record.verified["passed"] else Text("ok, DIFFERS", style="bold red")


def number(value: float | None) -> str:
    """Return four significant digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets, or nothing if there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def notes(records: Sequence[Record]) -> Iterator[Text]:
    """Yield what the columns mean, where there is a number to explain."""
    ran = [record for record in records if record.throughput]
    if ran:
        yield Text("\nsamples/s: median over windows, with its 95 % bootstrap interval; all workers together, over the "
                   f"slowest one's time. {flops_unit(ran)[1]}: 6 x multiply-adds x samples/s.", style="dim")
    if len(ran) > 1:
        same = "" if len(baselines(ran)) == 1 else " of the same model, data and image size"
        yield Text(f"ratio: throughput over that of the first row{same} that ran. These runs were separate, not "
                   "interleaved: the ratio is no verdict on which is faster.", style="dim")
