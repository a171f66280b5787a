"""A sweep for people: every cell in one table, then for each axis what its values make of throughput and energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.judging.judging import AS_USUAL, Judging
from dlcompare.core.judging.verdict import Comparison, compare
from dlcompare.core.plan.sweep import in_words
from dlcompare.core.records.record import Record
from dlcompare.core.reports.fairness import differences, fairness, sameness, spans
from dlcompare.core.reports.proof import opening
from dlcompare.core.reports.roofline.shares import near, percent, share_at
from dlcompare.core.reports.text import WIDE, columns, number, plain_table, remarks, state, to_text
from dlcompare.core.reports.verdicts import cells as judged_cells
from dlcompare.core.reports.verdicts import speed as rate_cells
from dlcompare.core.reports.words import likeness, sentence

from .cells import BATCH, LARGEST, THREADS, WORKERS, Cell, Line, axes, cells, lines

SCALING = (WORKERS, THREADS)
RELATED = (*SCALING, BATCH, "precision", "execution")  # what times the first value mean something of
AXIS_WIDTH = 10  # columns that one more axis takes
NARROW = 85  # columns that the rest of a table of verdicts takes
Rows = Sequence[tuple[int, Cell]]


def render(records: Sequence[Record], judging: Judging | None = None) -> str:
    """Return the tables of a sweep as text as wide as the terminal; ``judging`` None: without verdicts."""
    width = columns()
    return to_text(parts(records, judging, width), width)


def parts(records: Sequence[Record], judging: Judging | None, width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    found = cells(records)
    rows = list(enumerate(found, start=1))
    yield from opening(records)
    yield main_table(rows, compare(records, judging or AS_USUAL), width, judged=judging is not None)
    yield from notes(found, judging)
    yield from near([(place, cell.side.name, cell.record, cell.side.throughput) for place, cell in rows])
    yield from by_axis(records)
    yield from fair(rows)
    yield from doubts(rows)


def main_table(rows: Rows, found: Sequence[Comparison], width: int, *, judged: bool) -> Table:
    """Return every cell: where it lies, what it gave, and beside the baseline of its point how fast that is.

    Where columns are few, two lines of a row take the place of more columns, of the axes' own too.
    """
    swept = list(axes([cell for _, cell in rows]))
    wide = width >= WIDE + AXIS_WIDTH * len(swept)
    apart = not judged or width >= NARROW + AXIS_WIDTH * len(swept)  # whether axes have columns of their own
    made = main_columns(rows[0][1].record.shown[1], swept if apart else [], wide=wide, judged=judged)
    before: Any = None
    several = len({cell.side.run for _, cell in rows}) > 1
    for place, cell in rows:
        one = next(one for one in found if any(same(cell, side) for side in one.sides))
        shown = (judged_cells(one, one.side(cell.side.run, cell.side.name), wide=wide) if judged else
                 plain_cells(one, cell, wide=wide))
        known = {name: where(cell, name) for name in swept}
        point = ["" if cell.point == before and cell.point.get(name) != LARGEST else known[name] for name in swept]
        name = cell.side.name if wide else cell.side.name.replace(":", "\n")
        name += (f"\n{cell.side.run}" if several else "") + ("" if apart else f"\n{in_words(known)}")
        made.add_row(str(place), *(point if apart else []), Text(name), *shown)
        before = cell.point
    return made


def main_columns(unit: str, swept: Sequence[str], *, wide: bool, judged: bool) -> Table:
    """Return the empty table of all cells."""
    made = plain_table()
    made.add_column("#", justify="right")
    for name in swept:
        made.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    made.add_column("framework", overflow="fold")
    numbers = (unit, "95 % interval", "ratio", "95 % interval") if wide else (f"{unit}\n[95 %]", "ratio\n[95 %]")
    words = ("verdict", "could see", "rounds") if wide else ("verdict\ncould see", "rounds")
    for name in (*numbers, *words) if judged else (*numbers[:2 if wide else 1], "ratio"):
        made.add_column(name, justify="left" if "verdict" in name else "right", no_wrap=True)
    made.add_column("status", width=None if wide else len("verified"))
    return made


def same(cell: Cell, side: Any) -> bool:
    """Return whether a side of a comparison is a cell's: they hold the same records."""
    return side.records[0] is cell.side.records[0]


def where(cell: Cell, axis: str) -> str:
    """Return a cell's value of an axis, and what it came to where that was searched for."""
    value = cell.point.get(axis, "-")
    return f"{value} ({cell.at(axis)})" if value == LARGEST and cell.side.ran else str(value)


def plain_cells(one: Comparison, cell: Cell, *, wide: bool) -> list[Text]:
    """Return the cells of a side that ran once, so is not judged."""
    rate, base = cell.side.throughput, one.baseline.throughput
    speed = rate_cells(cell.side)
    return [*(speed if wide else [Text("\n").join(filter(None, speed))]),
            Text(f"{rate / base:.3f}" if rate and base else "-"), state(cell.record)]


def notes(found: Sequence[Cell], judging: Judging | None) -> Iterator[Text]:
    """Yield what the columns mean."""
    if not any(cell.side.ran for cell in found):
        return
    unit = found[0].record.shown[1]
    if judging is None:
        yield Text(f"\n{unit}: {found[0].record.over}. ratio: to the first row of the same point that ran; each ran "
                   "once, not interleaved, so it is no verdict.", style="dim")
        return
    yield Text(f"\n{unit}: all workers together, geometric mean over rounds. ratio: to the baseline at the same point, "
               "round by round, with its 95 % interval; no ratio joins two points. verdict: same if the whole interval "
               f"is within {100 * judging.margin:g} %, faster or slower if it leaves out 1, else undecided. could see: "
               "the smallest difference that these rounds tell from none.", style="dim")


def by_axis(records: Sequence[Record]) -> Iterator[RenderableType]:
    """Yield a table for each setting of which there are several values."""
    found = cells(records)
    for axis, values in axes(found).items():
        if len(values) > 1:
            yield from along(found, axis, values)


def along(found: Sequence[Cell], axis: str, values: Sequence[Any]) -> Iterator[RenderableType]:
    """Yield throughput along an axis, a row for each line, and what was metered."""
    drawn, record, name = lines(found, axis), found[0].record, axis.replace("_", " ")
    related = "; x: times the first of the row that ran" if axis in RELATED else ""
    share = f", %: of what so many times the {name} would give" if axis in SCALING and record.scales else ""
    known = any(share_at(cell.record, cell.side.throughput) for cell in found)
    peak = "; of peak: of what this machine's matrix units give" if known else ""
    yield Text(f"\n{record.shown[1]} by {name}{related}{share}{peak}", style="bold")
    yield grid(drawn, values, lambda line, value: speed(line, value, axis), name)
    for scope in dict.fromkeys(scope for cell in found for scope in cell.energy()):
        yield Text(f"\nJ/{record.sample} and W by {name}: {scope}", style="bold")
        yield grid(drawn, values, lambda line, value, of=scope: metered(line.cells.get(value), of), name)


def grid(drawn: Sequence[Line], values: Sequence[Any], cell: Any, name: str) -> Table:
    """Return lines against values of an axis."""
    made = plain_table()
    made.add_column("", overflow="fold")
    for value in values:
        made.add_column(f"{name} {value}" if value == values[0] else str(value), justify="right")
    for line in drawn:
        made.add_row(Text(line.text), *(Text(cell(line, value)) for value in values))
    return made


def speed(line: Line, value: Any, axis: str) -> str:
    """Return throughput at a value of an axis, over that at the first, which share of the ideal that is, and of this
    machine's peak."""
    cell = line.cells.get(value)
    if cell is None or not cell.side.throughput:
        return cell.record.status if cell else "-"
    told = [number(cell.side.throughput / cell.record.shown[0]), beyond(line, value, axis)]
    if of_peak := share_at(cell.record, cell.side.throughput):
        told.append(f"{percent(of_peak)} of peak")
    return "\n".join(filter(None, told))


def beyond(line: Line, value: Any, axis: str) -> str:
    """Return throughput over that at the first value, with the share of the ideal; "" where that means nothing."""
    over, first, cell = line.over_first(value), line.first(), line.cells[value]
    if axis not in RELATED or over is None or first is None or first is cell:
        return ""
    share = f", {100 * over * first.at(axis) / cell.at(axis):.0f} %" if axis in SCALING and cell.record.scales else ""
    return f"{over:.2f}x{share}"


def metered(cell: Cell | None, scope: str) -> str:
    """Return joules per sample and watts of a cell."""
    spent = cell.energy().get(scope) if cell else None
    return f"{number(spent.per_sample)}\n{number(spent.watts)}" if spent else "-"


def largest(rows: Rows) -> Iterator[Text]:
    """Yield how the largest batches were found, and that rows of unlike batch are no comparison."""
    searched = [(place, cell) for place, cell in rows if cell.side.ran and cell.record.job.get("tried")]
    for place, cell in searched:
        tried = cell.record.job["tried"]
        failed = min((one["batch"] for one in tried if not one["fits"]), default=None)
        beyond = f"{failed} did not" if failed else "there are data, or patience, for no more"
        yield Text(f"{place} {cell.side.name}: {cell.record.batch_per_worker} is the largest batch that fits of "
                   f"{len(tried)} that were tried ({beyond}), {sum(one['seconds'] for one in tried):.0f} s")
    if len({cell.record.batch_per_worker for _, cell in searched}) > 1:
        yield Text("These rows are of unlike batch, each the largest that fits: a ratio of them is no verdict.",
                   style="bold yellow")


def fair(rows: Rows) -> Iterator[RenderableType]:
    """Yield the fairness of the first point with most sides, and where others are not like it."""
    by_point: dict[str, list[tuple[int, Cell]]] = {}
    for place, cell in rows:
        if cell.side.ran:
            by_point.setdefault(in_words(cell.point), []).append((place, cell))
    several = {point: of for point, of in by_point.items() if len(of) > 1}
    if not several:
        return
    point = max(several, key=lambda one: len(several[one]))
    shown = [(place, cell.record) for place, cell in several.pop(point)]
    yield from fairness(shown, [r for place, cell in rows if place in dict(shown) for r in cell.side.ran])
    names = {one.name for one in differences([record for _, record in shown])}
    for other, of in several.items():
        records = [cell.record for _, cell in of]
        apart = sameness([record for _, cell in of for record in cell.side.ran])[1]
        more = sorted({one.name for one in differences(records)} - names)
        if apart or more:
            told = "; ".join(filter(None, [f"NOT the same: {'; '.join(apart)}" if apart else "",
                                           f"differs as well: {', '.join(more)}" if more else ""]))
            yield Text(f"rows {spans([place for place, _ in of])} ({other}): {told}", style="yellow")
    yield Text(f"That is at {point}." + (" Other points are like it but for what is said here." if several else ""),
               style="dim")


def doubts(rows: Rows) -> Iterator[RenderableType]:
    """Yield what cells were refused or failed for, and each sort of warning once, with the rows that were given it."""
    yield from remarks([(place, record) for place, cell in rows
                        for record in cell.side.records if record.status != "ok"])
    kinds: dict[str, dict[int, str]] = {}
    for place, cell in rows:
        for record in cell.side.ran:
            for caveat in [*record.warnings, *(one for one in record.discarded if one.kind != "warm-up steps")]:
                kinds.setdefault(likeness(caveat), {}).setdefault(place, sentence(caveat))
    if kinds:
        yield Text("\nWarnings", style="yellow")
        bullets: Table = Table.grid(padding=(0, 1, 0, 0))
        for found in kinds.values():
            rows_ = f"row{'s' * (len(found) > 1)} {spans(list(found))}"
            bullets.add_row(" -", Text(f"{rows_}{', first' * (len(found) > 1)}: {next(iter(found.values()))}"))
        yield bullets
