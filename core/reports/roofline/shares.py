"""How near numbers come to what this machine can do: a share for a table's cell, a sentence for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.machine.collectives import REMEDY as COMM
from dlcompare.core.machine.measured import REMEDY
from dlcompare.core.plugins.collectives import ALL_REDUCE
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.bounds import ARITHMETIC, EXCHANGE, INPUT, MEMORY, Bounds
from dlcompare.core.reports.text import number

OTHERS = {MEMORY: "its memory", INPUT: "the input pipeline", EXCHANGE: "handing gradients over"}  # as people say it
Row = tuple[int | str, str, Any, float | None]  # number, name, a record, its throughput in samples/s


def percent(share: float | None) -> str:
    """Return a share in percent, a dash if there is none."""
    return "-" if share is None else f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def share(record: Any) -> float | None:
    """Return the share of the measured matrix rate that a record's arithmetic is; None if nobody knows."""
    found: Bounds | None = getattr(record, "bounds", None)
    return found.shares.get(ARITHMETIC) if found else None


def share_at(record: Any, rate: float | None) -> float | None:
    """Return that share for another throughput of the record's kind, such as one over several rounds."""
    found: Bounds | None = getattr(record, "bounds", None)
    limit = found.limits.get(ARITHMETIC) if found else None
    return rate / limit if rate and limit else None


def near(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Yield what the rows that ran come to of this machine's bounds, or how to know them."""
    known = [(place, name, record, bounds, rate) for place, name, record, rate in rows
             if rate and (bounds := getattr(record, "bounds", None))]
    told = [f"{place} {name}: {sentence(bounds, rate)}" for place, name, _, bounds, rate in known if bounds.limits]
    measured = dict.fromkeys(bounds.measured[:10] for _, _, _, bounds, _ in known if bounds.measured)
    if told:
        when = f" (measured {' and '.join(measured)})" if measured else ""
        yield Text(f"\nOf what this machine can do{when}:", style="bold")
        lines = Table.grid(padding=(0, 1))
        for line in told:
            lines.add_row(" ", Text(line))
        yield lines
    if any(bounds.exchange and not bounds.line and reduces(record) for _, _, record, bounds, _ in known):
        yield Text(f"{COMM} measures frameworks' own all-reduce, which bounds handing gradients over more closely.",
                   style="dim")
    if known and not measured:
        yield Text(f"How much of this machine that is, nobody knows yet: {REMEDY} measures it, once.", style="dim")


def sentence(bounds: Bounds, rate: float) -> str:
    """Return in words how near a throughput comes to each bound, and which allows least."""
    found = bounds.beside(rate)
    parts = []
    if ARITHMETIC in found.shares and found.peak:
        parts.append(f"{percent(found.shares[ARITHMETIC])} of what its matrix units give ({found.peak.by}, "
                     f"{found.peak.name})")
    parts += [f"{words}{by(found) if name == EXCHANGE else ''} would allow {times(found.limits[name] / rate)} as much"
              for name, words in OTHERS.items() if name in found.limits]
    if found.measured and found.nearest:
        of = f", at {number(found.intensity)} FLOP/B" if found.intensity else ""
        parts.append(f"the nearest bound is {found.nearest}{of}")
    return "; ".join(parts)


def reduces(record: Any) -> bool:
    """Return whether the all-reduce of a record's framework can be measured by itself."""
    backend = plugins().backends().get(record.framework)
    return backend is not None and ALL_REDUCE in backend.offered_collectives


def by(bounds: Bounds) -> str:
    """Return by what handing gradients over is bounded: the framework's own all-reduce, or loopback alone."""
    if bounds.line:
        return f" (by its own all-reduce, measured {bounds.line.measured[:10]})"
    return f" (by {bounds.exchange.name} alone)" if bounds.exchange else ""


def times(factor: float) -> str:
    """Return a factor for people to read."""
    return f"{factor:.2g}x" if factor < 99.5 else f"{factor:.0f}x" if factor < 1000 else "over 1,000x"
