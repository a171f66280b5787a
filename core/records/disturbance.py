"""Which windows count: those taken while the machine was busy with something else, throttled or asleep, do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .caveat import Caveat
from .record import R, Window

# Of the usable cores. What others take, a job that uses every core loses: 5 % is more than twice the margin within
# which two frameworks are called the same, and several times what an idle system's services use.
FOREIGN = 0.05
PAUSED = "paused"
LEAST = 0.1  # core-seconds: processor time is counted in ticks of 10 ms, so less than some ticks may be rounding


def discard_disturbed(record: R) -> R:
    """Return the record with disturbed windows marked and counted; with too few others, unmarked and with a caveat.

    A pause is none of a framework's time, so a window that has one is marked as long as there is any other.
    """
    reasons = [disturbance(window, cores(record.system)) for window in record.windows]
    count = len([reason for reason in reasons if reason])
    if too_many := 2 * count > len(reasons):
        caveat = Caveat.of("disturbed", count=count, windows=len(reasons), **worst(record.windows))
        record = dataclasses.replace(record, disturbed=True, warnings=(*record.warnings, caveat))
        paused = [reason if reason and reason.kind == PAUSED else None for reason in reasons]
        reasons = paused if None in paused else [None] * len(paused)
    windows = tuple(dataclasses.replace(window, discarded=reason)
                    for window, reason in zip(record.windows, reasons, strict=True))
    left_out = [window for window in windows if window.discarded]
    if too_many or not left_out:
        return dataclasses.replace(record, windows=windows)
    caveat = Caveat.of("windows", count=count, windows=len(reasons), seconds=sum(max(w.seconds) for w in left_out),
                       **worst(left_out))
    return dataclasses.replace(record, windows=windows, discarded=(*record.discarded, caveat))


def windows_that_count(windows: Sequence[Window]) -> list[Window]:
    """Return the windows that statistics are made of."""
    return [window for window in windows if not window.discarded]


def disturbance(window: Window, cores: float | None) -> Caveat | None:
    """Return why a window does not count; None if it does, or if nobody looked."""
    if window.paused:
        return Caveat.of(PAUSED, seconds=window.paused)
    if window.throttled:
        return Caveat.of("throttled", times=window.throttled)
    foreign = window.foreign_cores
    if foreign is None or cores is None or foreign <= FOREIGN * cores or foreign * max(window.seconds) <= LEAST:
        return None
    return Caveat.of("foreign", cores=foreign)


def worst(windows: Sequence[Window]) -> dict[str, float]:
    """Return what the most disturbed of these windows suffered: ``foreign`` cores, and ``throttled`` times in all; with
    ``paused``, seconds in all, if they were."""
    paused = sum(window.paused or 0.0 for window in windows)
    return {"foreign": max((window.foreign_cores or 0.0 for window in windows), default=0.0),
            "throttled": sum(window.throttled or 0 for window in windows), **({"paused": paused} if paused else {})}


def cores(system: Mapping[str, Any]) -> float | None:
    """Return how many cores a job may use on a machine, of those it may run on and those a container allows."""
    cpu = system.get("cpu") or {}
    known = [float(cpu[key]) for key in ("usable", "quota") if cpu.get(key)]
    return min(known, default=None)
