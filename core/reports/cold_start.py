"""What each framework costs before it is at speed, as a table, with the step at which one overtakes the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.cold_start import ColdStart, Overtaking, cold_start, overtaking
from dlcompare.core.judging.verdict import Comparison, Side

from .text import plain_table


def cold_starts(one: Comparison, rows: Mapping[tuple[str, str], int]) -> Iterator[RenderableType]:
    """Yield the cold starts of all sides, and who is ahead of the baseline when."""
    found = cold_starts_of(one)
    if not found:
        return
    phases = list(dict.fromkeys(name for cold in found.values() for name in cold.phases))
    table = plain_table()
    table.add_column("#", justify="right")
    table.add_column("framework", overflow="fold")
    for name in (*phases, "total"):
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("ahead of the baseline", overflow="fold")
    for side, cold in found.items():
        seconds = [f"{cold.phases.get(name, 0.0):.2f}" for name in phases]
        table.add_row(str(rows[side.run, side.name]), Text(side.name), *seconds, f"{cold.total:.2f}",
                      Text(ahead(one, side, found)))
    yield Text("\nCold start, seconds", style="bold")
    yield table
    yield Text("compile: what the warm-up steps took beyond steady ones. ahead: counted from a cold start, in steps of "
               f"{batch(one)} samples, by the rows' throughputs.", style="dim")


def cold_starts_of(one: Comparison) -> dict[Side, ColdStart]:
    """Return the cold starts of the sides that ran."""
    found = {side: cold_start(side, batch=batch(one)) for side in one.sides}
    return {side: cold for side, cold in found.items() if cold}


def batch(one: Comparison) -> int:
    """Return how many samples a step has that all sides are compared by."""
    return one.baseline.records[0].global_batch


def race(one: Comparison, side: Side, found: Mapping[Side, ColdStart]) -> Overtaking | None:
    """Return when a side is ahead of its run's baseline; None for a baseline, and where that was not decided."""
    verdict = one.verdict(side)
    if verdict is None or verdict.word in ("same", "undecided") or side not in found:
        return None
    base = one.side(verdict.baseline_run, verdict.baseline)
    return overtaking(found[side], found[base]) if base in found else None


def ahead(one: Comparison, side: Side, found: Mapping[Side, ColdStart]) -> str:
    """Return in words when a side is ahead of the baseline."""
    result = race(one, side, found)
    if result is None:
        return "-"
    if result.steps is None or result.seconds is None:
        return result.ahead
    return f"{result.ahead} {result.steps:,} step{'s' * (result.steps != 1)} ({result.seconds:.3g} s)"
