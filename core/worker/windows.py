"""Warm-up and timed windows, the same for whatever is measured; nothing else happens between the clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from dlcompare.core.meters import foreign_load, standstill
from dlcompare.core.variables import JOB_MARK

from .metering import Metering

T = TypeVar("T")
MAX_WARMUP = 25  # steps
SETTLED = 1.15  # two successive warm-up steps whose times differ by less than this factor


@dataclass(frozen=True)
class Surroundings:
    """What happened around a window: see ``records.record.Window``; None where nobody looked."""

    foreign_cores: float | None = None
    throttled: int | None = None
    joules: dict[str, float] = field(default_factory=dict)
    counted: dict[str, float] = field(default_factory=dict)
    paused: float | None = None


def clock(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def warm_up(once: Callable[[], float], *, least: int, most: int = MAX_WARMUP) -> Iterator[tuple[float, bool]]:
    """Yield the seconds of one step after another, and whether two successive ones took about the same; then stop.

    ``once`` takes a step and returns its seconds; at least ``least`` are taken, and at most ``most``.
    """
    times: list[float] = []
    while len(times) < most:
        times.append(once())
        pair = times[-2:]
        settled = len(times) >= max(2, least) and max(pair) < SETTLED * min(pair)
        yield times[-1], settled
        if settled:
            return


def watch(take: Callable[[], T], *, meters: Metering | None = None) -> tuple[T, Surroundings]:
    """Take a window; return what that returns, and what meters and the machine say of the time it took.

    Meters are read outside the window's own clock, nearest to it; of several ranks, rank 0 looks at the machine.
    """
    meters = meters or Metering((), "")
    mark = os.environ.get(JOB_MARK) if meters.rank == 0 else None
    begin, before = time.perf_counter(), foreign_load.read(mark) if mark else None
    still, charged = standstill.read(), meters.read()
    taken = take()
    used = meters.used(charged, meters.read())
    paused = standstill.since(still)
    after = foreign_load.read(mark) if mark else None
    foreign = foreign_load.others(before, after, seconds=time.perf_counter() - begin)
    return taken, Surroundings(foreign.cores, foreign.throttled, used.joules, used.counted, paused)
