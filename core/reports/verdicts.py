"""A comparison for people: who is faster, how surely, from a cold start as well, and how fair the comparison is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.verdict import Comparison, Side, machine
from dlcompare.core.records.record import Record

from .cold_start import cold_starts
from .explanation import gap_parts
from .fairness import fairness
from .proof import warn_unverified
from .roofline.shares import near
from .sections.energy import energy_parts
from .text import WIDE, columns, heading, interval, number, plain_table, remarks, state, to_text
from .words import likeness, sentence

STYLES = {"faster": "bold green", "slower": "bold red", "same": "bold cyan", "undecided": "bold yellow"}


def render(comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return comparisons as text as wide as the terminal, and the explanation of a gap if there is one."""
    width = columns()
    return to_text(parts(comparisons, explanation, width), width)


def parts(comparisons: Sequence[Comparison], explanation: Explanation | str | None,
          width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    yield from warn_unverified([record for one in comparisons for record in of(one.sides)])
    for one in comparisons:
        yield from comparison(one, width)
    if explanation is not None:
        yield from gap_parts(explanation, width)


def of(sides: Sequence[Side]) -> list[Record]:
    return [record for side in sides for record in side.records]


def comparison(one: Comparison, width: int) -> Iterator[RenderableType]:
    """Yield all about one model: a table for each run, what stands across runs, cold starts, fairness, warnings."""
    rows = {(side.run, side.name): n for n, side in enumerate(one.sides, start=1)}
    runs = list(dict.fromkeys(side.run for side in one.sides))
    yield Text(heading(of(one.sides)))
    for number_, run in enumerate(runs):
        sides = [side for side in one.sides if side.run == run]
        yield Text("\n" * (number_ > 0) + title(one, sides, several=len(runs) > 1), style="bold")
        yield table(one, sides, rows, width)
    yield from notes(one)
    stand_ins = [(rows[side.run, side.name], (side.good or side.ran)[0]) for side in one.sides if side.ran]
    yield from near([(place, r.name, r, one.side(r.run, r.name).throughput) for place, r in stand_ins])
    if len(runs) > 1:
        yield from across(one, rows)
    yield from cold_starts(one, rows)
    yield from energy_parts([(rows[side.run, side.name], side.name, side.good or side.ran) for side in one.sides])
    if len(stand_ins) > 1:
        yield from fairness(stand_ins, [record for side in one.sides for record in side.ran])
    yield from doubts(one.sides, rows)


def title(one: Comparison, sides: Sequence[Side], *, several: bool) -> str:
    """Return what a run's table is of."""
    rounds = max(len({record.round for record in side.records}) for side in sides)
    how = f"{rounds} rounds, interleaved" if sides[0].interleaved else "each once, not interleaved"
    if any(side.open_ended for side in sides):
        how += ", until decided"
    where = f"Run {sides[0].run}, {machine(of(sides)[0].system)}: " if several else ""
    what = " / ".join(dict.fromkeys(record.conditions for record in of(sides)))
    return where + ", ".join(part for part in (one.model, what, how) if part)


def unit(one: Comparison) -> str:
    """Return the unit of what is compared, the same for all records of a kind, as people are shown it."""
    return one.baseline.records[0].shown[1]


def table(one: Comparison, sides: Sequence[Side], rows: Mapping[tuple[str, str], int], width: int) -> Table:
    """Return the main table of one run; narrow terminals get two lines a row instead of more columns."""
    wide = width >= WIDE
    made = plain_table()
    made.add_column("#", justify="right")
    made.add_column("framework", overflow="fold")
    numbers = (unit(one), "95 % interval", "ratio", "95 % interval")
    for head in numbers if wide else (f"{unit(one)}\n[95 %]", "ratio\n[95 %]"):
        made.add_column(head, justify="right", no_wrap=True)
    for head in ("verdict", "could see") if wide else ("verdict\ncould see",):
        made.add_column(head, no_wrap=True)
    made.add_column("rounds", justify="right", no_wrap=True)
    made.add_column("status", width=None if wide else len("verified"))
    for side in sides:
        name = side.name if wide else side.name.replace(":", "\n")
        made.add_row(str(rows[side.run, side.name]), Text(name), *cells(one, side, wide=wide))
    return made


def cells(one: Comparison, side: Side, *, wide: bool) -> list[Text]:
    """Return a side's cells from throughput to status."""
    found = one.verdict(side)
    ratio = number(found.ratio) if found else "1" if is_baseline(one, side) else "-"
    pairs = [speed(side),
             (Text(ratio), Text(interval(found.low, found.high) if found else "")),
             (verdict_cell(one, side), Text(percent(found.resolution if found else None)))]
    found_cells = [cell for pair in pairs
                   for cell in (pair if wide else (Text("\n").join(c for c in pair if c.plain),))]
    return [*found_cells, Text(rounds_cell(side)), state((side.good or side.ran or side.records)[0])]


def speed(side: Side) -> tuple[Text, Text]:
    """Return a side's throughput and its interval, in the unit that people are shown."""
    scale, (low, high) = side.records[0].shown[0], side.interval
    value, *ends = (None if one is None else one / scale for one in (side.throughput, low, high))
    return Text(number(value)), Text(interval(*ends))


def percent(share: float | None) -> str:
    """Return a share in percent, "" if there is none."""
    if share is None:
        return ""
    return f"{100 * share:.2g} %" if share >= 1e-4 else "< 0.01 %"


def verdict_cell(one: Comparison, side: Side) -> Text:
    """Return the verdict's cell."""
    found = one.verdict(side)
    if found and found.word:
        return Text(found.word, style=STYLES[found.word])
    return Text("none" if found and side.ran else "baseline" if is_baseline(one, side) else "-", style="dim")


def is_baseline(one: Comparison, side: Side) -> bool:
    """Return whether any ratio is to this side."""
    return any((verdict.baseline_run, verdict.baseline) == (side.run, side.name) for verdict in one.verdicts)


def rounds_cell(side: Side) -> str:
    """Return in how many rounds a side gave a number, of how many."""
    good, tried = len(side.good), len(side.records)
    return "-" if not side.interleaved else str(good) if good == tried else f"{good} of {tried}"


def notes(one: Comparison) -> Iterator[Text]:
    """Yield what the columns mean, where there is a number to explain."""
    if not any(side.ran for side in one.sides):
        return
    if any(side.interleaved for side in one.sides):
        yield Text(f"\n{unit(one)}: all workers together; geometric mean over rounds, each a fresh process whose "
                   f"windows' median counts. ratio: to the baseline, {paired(one)}. Intervals: 95 %, over rounds" +
                   (", widened so that looking after every round is no cheating"
                    if any(side.open_ended for side in one.sides) else "") + ".", style="dim")
        yield Text(f"verdict: same if the whole interval is within {100 * one.margin:g} %, faster or slower if it "
                   "leaves out 1, else undecided. could see: the smallest difference that these rounds tell from none.",
                   style="dim")
    for verdict in one.verdicts:
        if verdict.run == verdict.baseline_run and verdict.reason and verdict.ratio is not None:
            yield Text(f"no verdict on {verdict.name}: {verdict.reason}", style="yellow")


def paired(one: Comparison) -> str:
    """Return in words what ratios are made of: pairs of windows, of all sides or of some, or whole rounds."""
    turns = {side.name: [record.turns for record in side.ran] for side in one.sides if side.ran and side.interleaved}
    if not any(map(any, turns.values())):
        return "round by round"
    rest = [name for name, taken in turns.items() if not all(taken)]
    where = f", and whole rounds where {', '.join(rest)} did not" if rest else ""
    return f"of each round the median over neighbouring windows, which alternated while other sides waited{where}"


def across(one: Comparison, rows: Mapping[tuple[str, str], int]) -> Iterator[RenderableType]:
    """Yield the ratios between runs, and what cannot be concluded from them."""
    found = [verdict for verdict in one.verdicts if verdict.run != verdict.baseline_run]
    base = rows[one.baseline.run, one.baseline.name]
    yield Text(f"\nAcross runs, to row {base} {one.baseline.name}: no verdict", style="bold")
    made = plain_table()
    made.add_column("#", justify="right")
    made.add_column("framework", overflow="fold")
    made.add_column("ratio", justify="right")
    made.add_column("why this is no verdict", overflow="fold")
    for verdict in found:
        made.add_row(str(rows[verdict.run, verdict.name]), Text(verdict.name), number(verdict.ratio),
                     Text(verdict.reason or ""))
    yield made
    yield Text("\nThese rows were not interleaved with the baseline: whatever else changed between the runs, the "
               "machine, its load, its clock, is in the ratio as well, and no interval of one run holds it. To "
               "conclude, run them in one command with --rounds on one machine.", style="dim")


def doubts(sides: Sequence[Side], rows: Mapping[tuple[str, str], int]) -> Iterator[RenderableType]:
    """Yield the warnings of every side, those of a kind once with the number of rounds they were given in."""
    for side in sides:
        number_ = rows[side.run, side.name]
        yield from remarks([(number_, record) for record in side.records if record.status != "ok"])
        kinds: dict[str, list[str]] = {}
        for record in side.ran:
            for caveat in [*record.warnings, *(one for one in record.discarded if one.kind != "warm-up steps")]:
                kinds.setdefault(likeness(caveat), []).append(sentence(caveat))
        if kinds:
            yield Text(f"\n{number_} {side.name}, warnings", style="yellow")
            bullets = Table.grid(padding=(0, 1, 0, 0))
            for found in kinds.values():
                often = f"in {len(found)} of {len(side.ran)} rounds, first: " if len(side.records) > 1 else ""
                bullets.add_row(" -", Text(often + found[0]))
            yield bullets
