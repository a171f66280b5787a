"""Speed of one session at one batch size: warm-up, windows of queued runs, single runs for latency, copies apart.

A window is: clock, k runs, wait, clock. A latency is: clock, one run, wait, clock. Nothing else happens inside.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

from dlcompare.core.records.record import Window
from dlcompare.core.worker.metering import Metering
from dlcompare.core.worker.windows import clock, warm_up, watch
from dlcompare.inference.cell.result import Measured

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.engine import Session
    from dlcompare.core.plugins.inference_job import InferenceJob

LEAST_WARMUP = 3  # runs
LEAST_LATENCIES, MOST_LATENCIES = 3, 1000  # runs; p99 of fewer than 100 is little more than the largest
COPIES = 10


def measure(session: Session, batch: Arrays, job: InferenceJob, events: Events, meters: Metering) -> Measured:
    """Return raw times in seconds; ``meters`` are read around windows."""
    placed = session.place(batch)

    def once() -> float:
        def run() -> None:
            session.run(placed)
            session.wait()
        return clock(run)

    first = once()
    warmup = list(warm_up(once, least=LEAST_WARMUP))
    last, settled = warmup[-1]
    runs = max(1, math.ceil(job.window_seconds / last))
    events("warm-up", done=len(warmup), samples_per_second=job.batch / last, expected=runs * last)
    windows: list[Window] = []
    for _ in range(job.windows):
        windows.append(window(session, placed, runs, batch=job.batch, meters=meters))
        events("window", done=len(windows), samples_per_second=windows[-1].rate,
               expected=runs * job.windows * last)  # single runs for latency come last, as many as the windows had
    apart = (meters.apart(lambda: window(session, placed, runs, batch=job.batch, meters=meters)),
             ) if meters.disturbing else ()
    count = min(MOST_LATENCIES, max(LEAST_LATENCIES, runs * job.windows))  # they take as long as the windows did
    return Measured(first, tuple(seconds for seconds, _ in warmup), settled, tuple(windows),
                    tuple(once() for _ in range(count)), copies(session, batch), apart)


def window(session: Session, placed: Any, runs: int, *, batch: int, meters: Metering) -> Window:
    """Return one window's raw values, with what meters and the machine say of it."""
    def queued() -> None:
        for _ in range(runs):
            session.run(placed)
        session.wait()

    def timed() -> Window:
        started, begun = time.time(), time.monotonic()
        return Window(steps=runs, samples=batch * runs, seconds=(clock(queued),), started=started, clock=begun)

    taken, around = watch(timed, meters=meters)
    return dataclasses.replace(taken, foreign_cores=around.foreign_cores, throttled=around.throttled,
                               joules=around.joules, counted=around.counted, paused=around.paused)


def copies(session: Session, batch: Arrays) -> dict[str, tuple[float, ...]]:
    """Return the seconds that taking a batch to the device and its results from there took, several times."""
    place = tuple(clock(lambda: session.place(batch)) for _ in range(COPIES))
    return {"place": place, "fetch": tuple(clock(session.fetch) for _ in range(COPIES))}
