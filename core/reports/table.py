"""Records for people: a table, what makes its rows comparable or not, and what went wrong."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..record import Record
from .ledger import Difference, differences, sameness

WIDE = 110  # columns from which framework, model and precision stand in columns of their own
NOTE = ("samples/s: median over windows, with its 95 % bootstrap interval; all workers together, over the slowest "
        "one's time. GFLOP/s: 6 x multiply-adds x samples/s.")
NO_VERDICT = "These runs were separate, not interleaved: the ratio is no verdict on which is faster."


def render(records: Sequence[Record]) -> str:
    """Return the table as text as wide as the terminal (100 columns where there is none), coloured only on one."""
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=sys.stdout.isatty(), highlight=False, emoji=False)
    for part in parts(records, width):
        console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def parts(records: Sequence[Record], width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    if not records:
        yield Text("no records")
        return
    rows = list(enumerate(records, start=1))
    yield from unverified(records)
    yield Text(heading(records))
    yield results(rows, width)
    yield from notes(records)
    for model in dict.fromkeys(record.model for record in records):
        group = [(number, r) for number, r in rows if r.model == model and r.status == "ok"]
        if len(group) > 1:
            yield from fairness(group)
    yield from remarks(rows)


def unverified(records: Sequence[Record]) -> Iterator[Text]:
    """Yield a warning and its remedy for every model whose numbers carry no proof, or a failed one."""
    ran = [record for record in records if record.status == "ok"]
    for record in ran:
        if record.verified and not record.verified["passed"]:
            yield Text(f"verification FAILED: {record.framework} does not compute {record.model} as the reference does "
                       f"(certificate {record.verified['certificate']}, {record.verified['date']}), so its numbers "
                       "must not be compared", style="bold red")
    commands: dict[str, list[str]] = {}
    for record in ran:
        if not record.verified:
            commands.setdefault(verify_options(record), []).append(record.framework)
    for options, frameworks in commands.items():
        names = list(dict.fromkeys(frameworks))
        yield Text(f"not verified: {', '.join(names)}; to prove that they compute the same, run", style="bold yellow")
        yield Text(f"  dlcompare verify --framework {','.join(names)} {options}", no_wrap=True)


def verify_options(record: Record) -> str:
    """Return the options that make ``dlcompare verify`` speak for this record; the defaults of that command left out."""
    words = [f"--model {record.model}"]
    if record.precision != "fp32":
        words.append(f"--precision {record.precision}")
    if record.device == "cpu" and record.system.get("accelerators"):
        words.append("--device cpu")
    return " ".join(words)


def heading(records: Sequence[Record]) -> str:
    """Return one line naming data, image size and device; several of each where the records differ."""
    sizes = dict.fromkeys(f"{r.image_size} x {r.image_size} pixels" for r in records if r.image_size)
    named = [f"data {' / '.join(dict.fromkeys(r.dataset for r in records))}", " / ".join(sizes),
             " / ".join(dict.fromkeys(device(r) for r in records))]
    return "Training, " + ", ".join(part for part in named if part)


def device(record: Record) -> str:
    """Return what the job ran on, as a person would say it."""
    if record.device == "cpu":
        cpu = record.system.get("cpu", {})
        return f"cpu ({cpu['model']}, {cpu['usable']} cores)" if cpu else "cpu"
    names = [item["name"] for item in record.system.get("accelerators", [])]
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    return f"{record.device} ({', '.join(counted)})" if names else record.device


def results(rows: Sequence[tuple[int, Record]], width: int) -> Table:
    """Return the main table, a row for each record; narrow terminals get two lines a row instead of more columns."""
    wide = width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    left = ("framework", "model", "precision") if wide else ("framework\nmodel",)
    numbers = ("samples/s", "95 % interval") if wide else ("samples/s\n[95 %]",)
    table.add_column("#", justify="right")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in ("workers\nx batch", *numbers, "step\nms", "ratio", "GFLOP/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status")
    base = baselines(record for _, record in rows)
    for number, record in rows:
        table.add_row(str(number), *map(Text, cells(record, base.get(kind(record)), wide)), state(record))
    return table


def cells(record: Record, base: float | None, wide: bool) -> list[str]:
    """Return a record's cells between number and status."""
    rate, times = record.throughput, record.step_time
    names = [record.framework, record.model, record.precision]
    speed = ["-", ""] if rate is None else [number(rate["value"]), interval(rate["low"], rate["high"])]
    flops = record.flops_per_second
    return [
        *(names if wide else [f"{names[0]}\n{names[1]} {names[2]}"]),
        f"{record.workers} x {record.batch_per_worker}",
        *(speed if wide else ["\n".join(speed)]),
        number(times and times["median"] * 1e3),
        "-" if rate is None or base is None else f"{rate['value'] / base:.3f}",
        number(flops and flops / 1e9),
    ]


def kind(record: Record) -> tuple[str, str, int | None]:
    """Return what a ratio of throughputs needs to have in common."""
    return record.model, record.dataset, record.image_size


def baselines(records: Iterable[Record]) -> dict[tuple[str, str, int | None], float]:
    """Return by kind the throughput of its first row that ran."""
    found: dict[tuple[str, str, int | None], float] = {}
    for record in records:
        if record.throughput:
            found.setdefault(kind(record), record.throughput["value"])
    return found


def state(record: Record) -> Text:
    """Return the last cell: whether it ran, and whether it was proved right."""
    if record.status != "ok":
        return Text(record.status, style="red" if record.status == "failed" else "dim")
    if not record.verified:
        return Text("ok,\nunverified", style="yellow")
    return Text("ok,\nverified", style="green") if record.verified["passed"] else Text("ok,\nDIFFERS", style="bold red")


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
        yield Text(NOTE, style="dim")
    if len(ran) > 1:
        first = "its first row that ran" if len(baselines(ran)) == 1 else "the first row of the same model and data"
        yield Text(f"ratio: of throughput to {first}. {NO_VERDICT}", style="dim")


def fairness(rows: Sequence[tuple[int, Record]]) -> Iterator[RenderableType]:
    """Yield what was the same and what differed between records of one model."""
    records = [record for _, record in rows]
    same, other = sameness(records)
    title = f"\nFairness of rows {', '.join(str(n) for n, _ in rows)} ({records[0].model})"
    yield Text(title, style="bold")
    if same:
        yield Text(f"the same: {'; '.join(same)}")
    if other:
        yield Text(f"NOT the same: {'; '.join(other)}", style="bold yellow")
    found = differences(records)
    yield ledger(rows, found) if found else Text("no setting, version or machine property differs")


def ledger(rows: Sequence[tuple[int, Record]], found: Sequence[Difference]) -> Table:
    """Return the differing settings as a table; records that differ in none of them share a column."""
    columns: dict[tuple[str, ...], list[int]] = {}
    for place, (number_, record) in enumerate(rows):
        values = (record.framework, *(item.values[place] for item in found))
        columns.setdefault(values, []).append(number_)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("what differs", overflow="fold")
    for values, numbers in columns.items():
        table.add_column(f"{', '.join(map(str, numbers))} {values[0]}", overflow="fold")
    group = ""
    for line, item in enumerate(found, start=1):
        if item.group != group:
            group = item.group
            table.add_row(Text(group, style="italic dim"))
        table.add_row(Text(f"  {item.name}"), *(Text(values[line]) for values in columns))
    return table


def remarks(rows: Sequence[tuple[int, Record]]) -> Iterator[RenderableType]:
    """Yield the warnings of every record, and why a job was refused or failed, each in a paragraph of its own."""
    for number_, record in rows:
        name = f"{number_} {record.framework} {record.model} {record.precision}"
        if record.status != "ok":
            yield Text(f"\n{name} {record.status}: {record.reason}", style="red" if record.status == "failed" else "")
            if record.log:
                yield Text(f"  log: {record.log}", no_wrap=True)
        if record.warnings:
            yield Text(f"\n{name}, warnings", style="yellow")
            yield from (Padding(Text(f"- {sentence}"), (0, 0, 0, 2)) for sentence in record.warnings)
