"""What all tables for people are made of: width, numbers, intervals, states, headings, remarks."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from dlcompare.core.printable import in_one_line, printable
from dlcompare.core.records.record import Record

from .words import sentences

MANY = 5  # records that ended for the same reason, from which on it is said once
WIDE = 120  # columns from which what two lines of a row hold stands in columns of their own


def columns() -> int:
    """Return the width of the terminal; 100 where there is none."""
    return shutil.get_terminal_size(fallback=(100, 24)).columns


def to_text(found: Iterable[RenderableType], width: int) -> str:
    """Return what rich prints, coloured only on a terminal; text that must be copied whole is not wrapped."""
    out = io.StringIO()
    console = Plain(file=out, width=width, force_terminal=sys.stdout.isatty(), highlight=False, markup=False,
                    emoji=False)
    for part in found:
        console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


class Plain(Console):
    """Prints what others chose, such as the name of a network, as text: neither markup nor a terminal's command."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(printable(part.text, instead=""), part.style)  # of no width, either


def heading(records: Sequence[Record]) -> str:
    """Return one line naming data, classes, image size and device; several of each where the records differ."""
    kind = records[0].kind.replace("_", " ").capitalize()
    seen = [record for record in records if record.system] or records  # a refused job has seen no machine
    sizes = dict.fromkeys(f"{r.image_size} x {r.image_size} pixels" for r in records if r.image_size)
    data = " / ".join(dict.fromkeys(r.dataset for r in records if r.dataset))
    classes = dict.fromkeys(f"{count} classes" for r in records if (count := r.job.get("classes")))
    named = [f"data {data}" if data else "", " / ".join(classes), " / ".join(sizes),
             " / ".join(dict.fromkeys(map(device, seen)))]
    return f"{kind}: {', '.join(part for part in named if part)}\n"


def device(record: Record) -> str:
    """Return what the job ran on, as a person would say it."""
    if record.device == "cpu":
        cpu = record.system.get("cpu", {})
        return f"cpu ({cpu['model']}, {cpu['usable']} cores)" if cpu else "cpu"
    names = [item["name"] for item in record.system.get("accelerators", [])]
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    return f"{record.device} ({', '.join(counted)})" if names else record.device


def remarks(rows: Sequence[tuple[int, Record]]) -> Iterator[RenderableType]:
    """Yield the warnings of every record, and why a job was refused or failed, each in a paragraph of its own; a reason
    that many have in common is said once.
    """
    ended: dict[tuple[str, str | None], list[int]] = {}
    for number, record in rows:
        ended.setdefault((record.status, record.reason), []).append(number)
    for number, record in rows:
        name = in_one_line(f"{number} {record.name} {record.model} {record.precision}")
        alike = ended[record.status, record.reason]
        if record.status != "ok" and number == alike[0] and len(alike) >= MANY:
            yield from why(f"{record.status.capitalize()} were {in_short(alike)}", record)
        elif record.status != "ok" and len(alike) < MANY:
            yield from why(f"{name} {record.status}", record)
        if record.warnings:
            yield Text(f"\n{name}, warnings", style="yellow")
            bullets = Table.grid(padding=(0, 1, 0, 0))
            for one in sentences(record.warnings):
                bullets.add_row(" -", Text(one))
            yield bullets


def why(what: str, record: Record) -> Iterator[RenderableType]:
    """Yield the reason for which a job was refused or failed, and where its log is."""
    yield Text(f"\n{what}: {record.reason}", style="red" if record.status == "failed" else "")
    if record.log:
        yield Text(f"  log: {record.log}", no_wrap=True)


def in_short(numbers: Sequence[int]) -> str:
    """Return the first of many numbers in words, and how many more there are."""
    more = len(numbers) - MANY
    return ", ".join(map(str, numbers[:MANY])) + (f" and {more:,} more" if more else "")


def plain_table() -> Table:
    """Return an empty table with a rule under its header and no frame."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")


def state(record: Record) -> Text:
    """Return the last cell: whether it ran, and whether it was proved right."""
    if record.status != "ok":
        return Text(record.status, style="red" if record.status == "failed" else "dim")
    if not record.provable:
        return Text("ok")
    if not record.verified:
        return Text("ok, not verified", style="yellow")
    return Text("ok, verified", style="green") if record.verified["passed"] else Text("ok, DIFFERS", style="bold red")


def per_second(unit: str) -> str:
    """Return a unit such as samples/s as columns and keys are named: samples_per_s."""
    return unit.replace("/", "_per_")


def number(value: float | None) -> str:
    """Return four significant digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def interval(low: float | None, high: float | None) -> str:
    """Return an interval in brackets, or nothing if there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"
