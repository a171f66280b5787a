"""What the process of a toy job does: warm up, copy in windows, leave the raw result."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.records.record import Window
from dlcompare.core.worker.ranks import leave
from dlcompare.core.worker.windows import clock, warm_up, watch

from .request import ToyJob
from .result import RankResult

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events

WINDOW_SECONDS = 0.01  # short: what others take meanwhile is then below what can be counted
COPIES: dict[str, Callable[[bytes], object]] = {"forwards": bytearray, "backwards": lambda block: block[::-1]}


def work(job: ToyJob, folder: Path, events: Events) -> None:
    """Copy under the window protocol."""
    events("measure", rank=0)
    once = partial(COPIES[job.way], bytes(job.megabytes * 1_000_000))
    last = [seconds for seconds, _ in warm_up(partial(clock, once), least=2)][-1]
    steps = max(1, round(WINDOW_SECONDS / last))
    leave(RankResult(tuple(window(once, steps, job.megabytes) for _ in range(job.windows))), folder)


def window(once: Callable[[], object], steps: int, megabytes: int) -> Window:
    """Return one window of so many steps."""
    def take() -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            once()
        return time.perf_counter() - begin

    started = time.time()
    seconds, around = watch(take)
    return Window(steps=steps, samples=steps * megabytes, seconds=(seconds,), started=started,
                  foreign_cores=around.foreign_cores, throttled=around.throttled, joules=around.joules,
                  paused=around.paused)
