"""What the host did during a record's windows, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.meters.host.page_cache import Residency
from dlcompare.core.records.host import Host

LEAST = 1e5  # bytes per second: less is what any machine whispers
SHARED = 0.01  # of the workers' time, from which on it is said that counters missed it
UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s"))


def hosts(rows: Sequence[tuple[int | str, Any]]) -> Iterator[RenderableType]:
    """Yield a line for each record, or whatever else has a ``host``, of which anything is known."""
    lines = [(number, line(record)) for number, record in rows]
    if any(said for _, said in lines):
        yield Text("\nHost, during the windows:", style="dim")
        table = Table.grid(padding=(0, 1, 0, 0))
        for number, said in lines:
            if said:
                table.add_row(f" {number}", Text(said), style="dim")
        yield table


def line(record: Any) -> str:
    """Return what there is to say of a record's host, the busiest interface only; "" if nothing is known."""
    found: Host | None = record.host
    if found is None:
        return ""
    cache: Sequence[Residency] = getattr(record, "page_cache", ())
    return ", ".join(part for part in (cores(found), storage(found, cache), network(found), processor(found)) if part)


def cores(found: Host) -> str:
    if found.cores_busy is None:
        return ""
    own = "" if found.job_cores is None else f" (the job {found.job_cores:.2f})"
    stolen = f", {found.cores_stolen:.2f} stolen" if (found.cores_stolen or 0.0) >= 0.005 else ""
    return f"{found.cores_busy:.2f} of {found.cores} cores busy{own}{stolen}"


def storage(found: Host, cache: Sequence[Residency]) -> str:
    """Return what was read from storage; nothing is said too, where there are files that might have been."""
    held = f" (page cache at the start: {100 * cache[0].share:.0f} %)" if cache and cache[0].share is not None else ""
    if found.storage_read is None or not (cache or found.storage_read >= LEAST):
        return ""
    return f"storage {rate(found.storage_read)}{held}"


def network(found: Host) -> str:
    ways = [*found.received.items(), *found.sent.items()]  # what is sent over loopback is received there
    name, most = max(ways, key=lambda item: item[1], default=("", 0.0))
    return f"{name} {rate(most)}" if most >= LEAST else ""


def processor(found: Host) -> str:
    if found.instructions_per_cycle is None:
        return ""
    hertz = "" if found.clock_hz is None else f" at {found.clock_hz / 1e9:.2f} GHz"
    about = "about " if (found.uncounted or 0.0) > SHARED else ""
    return f"{about}{found.instructions_per_cycle:.2f} instructions/cycle{hertz}"


def rate(value: float) -> str:
    """Return bytes per second in the unit in which they have few digits."""
    size, unit = next((pair for pair in UNITS if value >= pair[0]), UNITS[-1])
    return f"{value / size:.3g} {unit}"
