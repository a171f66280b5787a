"""Speed of one session at one batch size: warm-up, windows of queued runs, single runs for latency, copies apart.

A window is: clock, k runs, wait, clock. A latency is: clock, one run, wait, clock. Nothing else happens inside.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dlcompare.core.meters import energy, foreign_load
from dlcompare.core.variables import JOB_MARK
from dlcompare.core.worker.windows import MAX_WARMUP, SETTLED

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.engine import Session
    from dlcompare.core.plugins.inference_job import InferenceJob

Json = dict[str, Any]
LEAST_WARMUP = 3  # runs
LEAST_LATENCIES, MOST_LATENCIES = 3, 1000  # runs; p99 of fewer than 100 is little more than the largest
COPIES = 10


def measure(session: Session, batch: Arrays, job: InferenceJob, events: Events) -> Json:
    """Return raw times in seconds: ``first_run``, ``warmup``, ``settled``, ``windows``, ``latencies``, ``copies``."""
    placed, meters = session.place(batch), energy.counters(job.device)

    def once() -> None:
        session.run(placed)
        session.wait()

    first = timed(once)
    warmup, settled = warm_up(once)
    events("warm-up", done=len(warmup), samples_per_second=job.batch / warmup[-1])
    runs = max(1, math.ceil(job.window_seconds / warmup[-1]))
    windows = []
    for _ in range(job.windows):
        windows.append(window(session, placed, runs, meters))
        events("window", done=len(windows), samples_per_second=job.batch * runs / windows[-1]["seconds"][0])
    count = min(MOST_LATENCIES, max(LEAST_LATENCIES, runs * job.windows))  # they take as long as the windows did
    return {"first_run": first, "warmup": warmup, "settled": settled, "windows": windows,
            "latencies": [timed(once) for _ in range(count)], "copies": copies(session, batch)}


def warm_up(once: Callable[[], None]) -> tuple[list[float], bool]:
    """Run until two successive times are about the same; return all times, and whether that came about."""
    times: list[float] = []
    while len(times) < MAX_WARMUP:
        times.append(timed(once))
        if len(times) >= LEAST_WARMUP and max(times[-2:]) < SETTLED * min(times[-2:]):
            return times, True
    return times, False


def window(session: Session, placed: Any, runs: int, meters: Sequence[energy.Counter]) -> Json:
    """Return one window's raw values, with joules by scope and what the machine did for others meanwhile."""
    mark = os.environ.get(JOB_MARK)
    outer, before, started = time.perf_counter(), foreign_load.read(mark) if mark else None, time.time()
    charged = energy.read(meters)
    begin = time.perf_counter()
    for _ in range(runs):
        session.run(placed)
    session.wait()
    seconds = time.perf_counter() - begin
    joules = energy.between(meters, charged, energy.read(meters))
    after = foreign_load.read(mark) if mark else None
    others = foreign_load.others(before, after, seconds=time.perf_counter() - outer)
    own = {"runs": runs, "seconds": [seconds], "started": started, "joules": joules}  # a list as of ranks: ``discard``
    return own | others


def copies(session: Session, batch: Arrays) -> dict[str, list[float]]:
    """Return the seconds that taking a batch to the device and its results from there took, several times."""
    place = [timed(lambda: session.place(batch)) for _ in range(COPIES)]
    return {"place": place, "fetch": [timed(session.fetch) for _ in range(COPIES)]}


def timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
