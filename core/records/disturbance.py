"""Which windows count: those taken while the machine was busy with something else, or throttled, do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .record import Json, Record

# Of the usable cores. What others take, a job that uses every core loses: 5 % is more than twice the margin within
# which two frameworks are called the same, and several times what an idle system's services use.
FOREIGN = 0.05
LEAST = 0.1  # core-seconds: processor time is counted in ticks of 10 ms, so less than some ticks may be rounding


def settled(record: Record) -> Record:
    """Return the record with disturbed windows marked and counted; with too few others, unmarked and with a warning."""
    reasons = [disturbance(window, cores(record.system)) for window in record.windows]
    count = len([reason for reason in reasons if reason])
    if 2 * count > len(reasons):
        said = (f"the machine was disturbed in {count} of {len(reasons)} windows ({worst(record.windows)}), too many "
                "to leave them out: the numbers are of all windows, and no verdict rests on them; repeat this on a "
                "quiet machine")
        return dataclasses.replace(record, windows=[w | {"discarded": None} for w in record.windows], disturbed=True,
                                   warnings=[*record.warnings, said])
    windows = [window | {"discarded": reason} for window, reason in zip(record.windows, reasons, strict=True)]
    left_out = [window for window in windows if window["discarded"]]
    lost = sum(max(window["seconds"]) for window in left_out)
    said = f"{count} of {len(reasons)} windows, {lost:.2f} s: the machine was disturbed ({worst(left_out)})"
    return dataclasses.replace(record, windows=windows, discarded=[*record.discarded, *([said] if count else [])])


def counted(windows: Sequence[Json]) -> list[Json]:
    """Return the windows that statistics are made of."""
    return [window for window in windows if not window.get("discarded")]


def disturbance(window: Mapping[str, Any], cores: float | None) -> str | None:
    """Return why a window does not count; None if it does, or if nobody looked."""
    if window.get("throttled"):
        return f"the clock was throttled {window['throttled']} times"
    foreign, seconds = window.get("foreign_cores"), max(window["seconds"])
    if foreign is None or cores is None or foreign <= FOREIGN * cores or foreign * seconds <= LEAST:
        return None
    return f"others used {foreign:.2f} cores"


def worst(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return in words what the most disturbed of these windows suffered."""
    throttled = sum(window.get("throttled") or 0 for window in windows)
    foreign = max((window.get("foreign_cores") or 0.0 for window in windows), default=0.0)
    words = [f"others used up to {foreign:.2f} cores"] if foreign else []
    return "; ".join([*words, *([f"the clock was throttled {throttled} times"] if throttled else [])])


def cores(system: Mapping[str, Any]) -> float | None:
    """Return how many cores a job may use on a machine, of those it may run on and those a container allows."""
    cpu = system.get("cpu") or {}
    known = [float(cpu[key]) for key in ("usable", "quota") if cpu.get(key)]
    return min(known, default=None)
