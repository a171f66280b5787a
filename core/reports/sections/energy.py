"""Energy and power shown: a row for each side of a comparison and each scope of a meter, with how it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.records.energy import Spent, over_rounds
from dlcompare.core.records.record import Record

from ..text import WIDE, columns, interval, number, plain_table


def energy_parts(rows: Sequence[tuple[int, str, Sequence[Record]]]) -> Iterator[RenderableType]:
    """Yield a table of what sides spent, by number and name, if any of them has a number, and what its columns mean."""
    found = [(str(place), name, over_rounds([one.energy for one in records if one.throughput]))
             for place, name, records in rows]
    samples = dict.fromkeys(one.sample for *_, records in rows for one in records)
    yield from spent_parts(found, ("#", "framework"), next(iter(samples), Record.sample))
    if any(each for *_, each in found):
        yield from sharing([one for *_, records in rows for one in records])


def spent_parts(rows: Sequence[tuple[str, str, Sequence[Spent]]], heads: tuple[str, str],
                sample: str = Record.sample) -> Iterator[RenderableType]:
    """Yield that table, its first two columns with these heads; ``sample`` is what energy is told of."""
    found = [(first, name, one) for first, name, each in rows for one in each]
    if not found:
        return
    made, wide = plain_table(), columns() >= WIDE
    for name in (*heads, "of"):
        made.add_column(name, overflow="fold")
    each = f"J/{sample}"
    for name in (each, "[95 %]", "W", "peak") if wide else (f"{each}\n[95 %]", "W\npeak"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("at rest", justify="right", no_wrap=True)
    made.add_column("by", overflow="fold")
    for first, name, one in found:
        joules = [number(one.per_sample), interval(one.low, one.high)]
        watts = [number(one.watts), number(one.peak_watts)]
        pairs = [*joules, *watts] if wide else ["\n".join(joules), "\n".join(watts)]
        made.add_row(*map(Text, (first, name, one.scope, *pairs, at_rest(one), how(one))))
    yield Text("\nEnergy", style="bold")
    yield made
    yield Text(f"{each}: median over windows, idle power and other programs included; the interval is of repetition "
               "and of a window's edges, not of the meter's own error. at rest: W before and after the job. by: the "
               "driver's counter of energy, or the integral of its power, and by how much the other differs.",
               style="dim")


def sharing(records: Sequence[Record]) -> Iterator[Text]:
    """Yield that the process that sampled meters had no core for itself, if that is so."""
    beside = [meter.about["sampler"] for record in records for meter in record.meters if "sampler" in meter.about]
    if any(one.get("core") is None for one in beside):
        yield Text("Meters were sampled on the job's own cores, for it left none: fewer --threads, --loaders may.",
                   style="dim")


def at_rest(one: Spent) -> str:
    """Return the power before and after a job."""
    if one.watts_before is None and one.watts_after is None:
        return "-"
    return " ".join(number(watts) for watts in (one.watts_before, one.watts_after))


def how(one: Spent) -> str:
    """Return how the energy of a scope is known."""
    apart = "" if one.disagreement is None else f" {100 * one.disagreement:+.1f} %"
    looked = "" if one.duty is None or one.duty >= 1 else f", {100 * one.duty:.0f} % of the time"
    return f"{one.method}{apart}{looked}"
