"""Training records side by side: a table, what makes its rows comparable or not, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.judging.verdict import compare
from dlcompare.core.reports.cold_start import cold_starts
from dlcompare.core.reports.fairness import fairness
from dlcompare.core.reports.proof import opening
from dlcompare.core.reports.roofline.shares import near, percent, share
from dlcompare.core.reports.sections.energy import energy_parts
from dlcompare.core.reports.sections.host import hosts
from dlcompare.core.reports.text import WIDE, columns, interval, number, plain_table, remarks, state, to_text

from .result import TrainingRecord

Kind = tuple[str, str, int | None]
OF_PEAK = (" of peak: that over the best rate of matrix products that any framework installed here reached on this "
           "machine with as many threads.")


def render(records: Sequence[TrainingRecord]) -> str:
    """Return the table as text as wide as the terminal (100 columns where there is none), coloured only on one."""
    width = columns()
    return to_text(parts(records, width), width)


def parts(records: Sequence[TrainingRecord], width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    yield from opening(records)
    if not records:
        return
    rows = list(enumerate(records, start=1))
    yield results(rows, width)
    yield from notes(records)
    yield from near([(place, r.name, r, r.throughput.value if r.throughput else None) for place, r in rows])
    yield from energy_parts([(number, record.name, [record]) for number, record in rows])
    yield from hosts(rows)
    for model in dict.fromkeys(record.model for record in records):
        group = [(number, r) for number, r in rows if r.model == model and r.status == "ok"]
        if len(group) > 1:
            yield from cold_start_parts([record for _, record in group], rows)
            yield from fairness(group)
    yield from remarks(rows)


def cold_start_parts(group: Sequence[TrainingRecord],
                     rows: Sequence[tuple[int, TrainingRecord]]) -> Iterator[RenderableType]:
    """Yield the cold starts of one model's records, where run and name tell them apart."""
    numbers = {(record.run, record.name): number for number, record in rows if record in group}
    if len(numbers) == len(group):
        for one in compare(group):
            yield from cold_starts(one, numbers)


@dataclass(frozen=True)
class Layout:
    """What all rows of one table share: its width, the base of each kind's ratio, the unit of arithmetic."""

    wide: bool
    base: Mapping[Kind, float]
    flops: tuple[float, str]
    shares: bool  # of this machine's peak are known


def results(rows: Sequence[tuple[int, TrainingRecord]], width: int) -> Table:
    """Return the main table; narrow terminals get two lines a row instead of more columns."""
    records = [record for _, record in rows]
    layout = Layout(width >= WIDE, baselines(records), flops_unit(records),
                    any(share(record) is not None for record in records))
    wide = layout.wide
    table = plain_table()
    table.add_column("#", justify="right")
    for name in ("framework", "model", "precision") if wide else ("framework\nmodel",):
        table.add_column(name, overflow="fold")
    numbers = ("samples/s", "95 % interval") if wide else ("samples/s\n[95 %]",)
    for name in ("workers\nx batch", *numbers, "step\nms", "ratio", *flops_heads(layout)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=wide, width=None if wide else len("verified"))
    for number_, record in rows:
        table.add_row(str(number_), *map(Text, cells(record, layout)), state(record))
    return table


def cells(record: TrainingRecord, layout: Layout) -> list[str]:
    """Return a record's cells between number and status."""
    rate, times, base = record.throughput, record.step_time, layout.base.get(kind(record))
    names = [record.name, record.model, record.precision]
    speed = ["-", ""] if rate is None else [number(rate.value), interval(rate.low, rate.high)]
    flops = record.flops_per_second
    return [
        *(names if layout.wide else [f"{names[0]}\n{names[1]} {names[2]}"]),
        f"{record.workers} x {record.batch_per_worker}",
        *(speed if layout.wide else ["\n".join(speed)]),
        number(times.median * 1e3 if times else None),
        "-" if rate is None or base is None else f"{rate.value / base:.3f}",
        *flops_cells(number(flops and flops / layout.flops[0]), percent(share(record)), layout),
    ]


def flops_heads(layout: Layout) -> list[str]:
    """Return the heads of the rate of arithmetic, and of its share of the measured peak where any is known."""
    return flops_cells(layout.flops[1], "of peak", layout)


def flops_cells(rate: str, of_peak: str, layout: Layout) -> list[str]:
    """Return a rate of arithmetic and its share of the peak: in columns of their own, or one above the other."""
    return [rate] if not layout.shares else [rate, of_peak] if layout.wide else [f"{rate}\n{of_peak}"]


def kind(record: TrainingRecord) -> Kind:
    """Return what a ratio of throughputs needs to have in common."""
    return record.model, record.dataset, record.image_size


def baselines(records: Sequence[TrainingRecord]) -> dict[Kind, float]:
    """Return by kind the throughput of its first record that ran."""
    return {kind(r): r.throughput.value for r in reversed(records) if r.throughput}


def flops_unit(records: Sequence[TrainingRecord]) -> tuple[float, str]:
    """Return the unit in which the largest rate of arithmetic has few digits, and its name."""
    most = max((record.flops_per_second or 0.0 for record in records), default=0.0)
    return (1e12, "TFLOP/s") if most >= 1e13 else (1e9, "GFLOP/s")


def notes(records: Sequence[TrainingRecord]) -> Iterator[Text]:
    """Yield what the columns mean, where there is a number to explain."""
    ran = [record for record in records if record.throughput]
    if ran:
        yield Text("\nsamples/s: median over windows, with its 95 % bootstrap interval; all workers together, over the "
                   f"slowest one's time. {flops_unit(ran)[1]}: 6 x multiply-adds x samples/s."
                   + OF_PEAK * any(share(record) is not None for record in ran), style="dim")
    if len(ran) > 1:
        same = "" if len(baselines(ran)) == 1 else " of the same model, data and image size"
        yield Text(f"ratio: throughput over that of the first row{same} that ran. These runs were separate, not "
                   "interleaved: the ratio is no verdict on which is faster.", style="dim")
