"""Records for people: a table, what makes its rows comparable or not, and what went wrong."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.errors import DlcompareError
from dlcompare.core.judging.verdict import compare
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.record import Record

from .cold_start import cold_starts
from .fairness import fairness
from .results import notes, results


def render(records: Sequence[Record]) -> str:
    """Return the table as text as wide as the terminal (100 columns where there is none), coloured only on one."""
    width = columns()
    return printed(parts(records, width), width)


def columns() -> int:
    """Return the width of the terminal; 100 where there is none."""
    return shutil.get_terminal_size(fallback=(100, 24)).columns


def printed(found: Iterable[RenderableType], width: int) -> str:
    """Return what rich prints, coloured only on a terminal; text that must be copied whole is not wrapped."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=sys.stdout.isatty(), highlight=False)
    for part in found:
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
            yield from cold([record for _, record in group], rows)
            yield from fairness(group)
    yield from targets(rows)
    yield from remarks(rows)


def targets(rows: Sequence[tuple[int, Record]]) -> Iterator[Text]:
    """Yield how long training to an accuracy took, for every record that did it."""
    for number, record in rows:
        if (went := record.target) and went["reached"]:
            yield Text(f"\n{number} {record.name}: {went['quantity']} {went['value']:.4f} (target {went['wanted']:g}) "
                       f"after {went['seconds']:.1f} s, {went['epochs']} epochs, {went['samples']:,} samples; of the "
                       f"time, {went['evaluation_seconds']:.1f} s went into {went['epochs']} examinations on "
                       f"{went['test_samples']} test samples")


def cold(group: Sequence[Record], rows: Sequence[tuple[int, Record]]) -> Iterator[RenderableType]:
    """Yield the cold starts of one model's records, where run and name tell them apart."""
    numbers = {(record.run, record.name): number for number, record in rows if record in group}
    if len(numbers) == len(group):
        for one in compare(group):
            yield from cold_starts(one, numbers)


def unverified(records: Sequence[Record]) -> Iterator[Text]:
    """Yield a warning and its remedy for every model whose numbers carry no proof, or a failed one."""
    ran = [record for record in records if record.status == "ok"]
    judged = {(r.framework, r.model, r.verified["certificate"]): r for r in ran if r.verified}  # the same in all rounds
    for record in judged.values():
        if record.verified and not record.verified["passed"]:
            yield Text(f"verification FAILED: {record.framework} does not compute {record.model} as the reference does "
                       f"(certificate {record.verified['certificate']}, {record.verified['date']}), so its numbers "
                       "must not be compared", style="bold red")
    lacking: dict[str, dict[str, list[Record]]] = {}
    for record in ran:
        if not record.verified:
            lacking.setdefault(verify_options(record), {}).setdefault(record.framework, []).append(record)
    for options, sides in lacking.items():
        told = ", ".join(name + earlier(records) for name, records in sides.items())
        yield Text(f"not verified: {told}; to prove that they compute the same, run", style="bold yellow")
        yield Text(f"  dlcompare verify --framework {','.join(sides)} {options}", no_wrap=True)


def earlier(records: Sequence[Record]) -> str:
    """Return what was certified of a side for source that has changed since, in brackets; "" if nothing was."""
    found = [record.verified_before for record in records if record.verified_before]
    if not found:
        return ""
    newest = max(found, key=lambda one: str(one["date"]))
    what = "certified" if newest["passed"] else "failed verification"
    return f" ({what} on {newest['date'][:10]} for other source; verify again)"


def verify_options(record: Record) -> str:
    """Return the options, less the defaults, with which ``dlcompare verify`` speaks for this record."""
    words = [f"--model {record.model}"]
    if record.precision != "fp32":
        words.append(f"--precision {record.precision}")
    execution, layout = record.job.get("execution"), record.job.get("layout")
    if execution and execution != usual(record.framework):
        words.append(f"--execution {execution}")
    if layout:
        words.append(f"--layout {layout}")
    if record.device == "cpu" and record.system.get("accelerators"):
        words.append("--device cpu")
    return " ".join(words)


def usual(framework: str) -> str | None:
    """Return how a framework executes by itself; None if this dlcompare does not know it."""
    with contextlib.suppress(DlcompareError):
        return next(iter(plugins().backend(framework).executions))
    return None


def heading(records: Sequence[Record]) -> str:
    """Return one line naming data, image size and device; several of each where the records differ."""
    seen = [record for record in records if record.system] or records  # a refused job has seen no machine
    sizes = dict.fromkeys(f"{r.image_size} x {r.image_size} pixels" for r in records if r.image_size)
    named = [f"data {' / '.join(dict.fromkeys(r.dataset for r in records))}", " / ".join(sizes),
             " / ".join(dict.fromkeys(map(device, seen)))]
    return f"Training: {', '.join(part for part in named if part)}\n"


def device(record: Record) -> str:
    """Return what the job ran on, as a person would say it."""
    if record.device == "cpu":
        cpu = record.system.get("cpu", {})
        return f"cpu ({cpu['model']}, {cpu['usable']} cores)" if cpu else "cpu"
    names = [item["name"] for item in record.system.get("accelerators", [])]
    counted = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
    return f"{record.device} ({', '.join(counted)})" if names else record.device


def remarks(rows: Sequence[tuple[int, Record]]) -> Iterator[RenderableType]:
    """Yield the warnings of every record, and why a job was refused or failed, each in a paragraph of its own."""
    for number, record in rows:
        name = f"{number} {record.name} {record.model} {record.precision}"
        if record.status != "ok":
            yield Text(f"\n{name} {record.status}: {record.reason}", style="red" if record.status == "failed" else "")
            if record.log:
                yield Text(f"  log: {record.log}", no_wrap=True)
        if record.warnings:
            yield Text(f"\n{name}, warnings", style="yellow")
            bullets = Table.grid(padding=(0, 1, 0, 0))
            for sentence in record.warnings:
                bullets.add_row(" -", Text(sentence))
            yield bullets
