"""What the process of a probe does: warm up, take windows, and more of them while others keep the machine busy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.machine.accelerators import cuda_uuid
from dlcompare.core.machine.system import system
from dlcompare.core.records.disturbance import cores, disturbance
from dlcompare.core.records.record import Window
from dlcompare.core.worker.metering import Metering, metering
from dlcompare.core.worker.ranks import leave
from dlcompare.core.worker.windows import warm_up, watch

from .probe import Absent, Probe
from .request import COPIES, IDLE, MEMORY, MachineJob
from .result import RankResult

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events

MOST = 4  # times as many windows are taken as were asked for, as long as the machine is busy with something else
FEWEST = 3  # windows in which it was not: an interval needs some
PAUSE = 0.2  # seconds after one in which it was


def work(job: MachineJob, folder: Path, events: Events) -> None:
    """Measure under the window protocol and leave the raw result."""
    events("measure", rank=0)
    try:
        with open_probe(job, folder) as probe:
            leave(measured(job, probe, events), folder)
    except Absent as reason:
        leave(RankResult(windows=(), by="", absent=str(reason)), folder)


def open_probe(job: MachineJob, folder: Path) -> AbstractContextManager[Probe]:
    """Return what a job measures."""
    from . import copies, disk, exchange, memory

    if job.probe == MEMORY:
        return memory.triad(job.threads)
    if job.probe in COPIES:
        return copies.copying(job.probe)
    if job.probe.startswith("disk-"):
        return disk.reading(folder, job.megabytes, cold=job.probe == "disk-cold")
    if job.probe == IDLE:
        return idleness()
    return {"pipe": exchange.pipe, "loopback": exchange.loopback, "shared-memory": exchange.shared_memory}[job.probe]()


@contextlib.contextmanager
def idleness() -> Iterator[Probe]:
    """Yield what does nothing, so that meters tell what a machine takes that is left alone."""
    def take(steps: int) -> float:
        begin = time.perf_counter()
        time.sleep(steps * 0.1)
        return time.perf_counter() - begin

    yield Probe(take, 1, "nothing")


def measured(job: MachineJob, probe: Probe, events: Events) -> RankResult:
    """Return so many windows as were asked for in which the machine was left to the job, and few of the others.

    While others keep it busy, windows are taken on, up to a limit; if too few were left to the job, the last are told,
    for others to refuse them.
    """
    seconds = [spent for spent, _ in warm_up(lambda: probe.take(1), least=2, most=4)]
    steps = max(1, round(job.window_seconds / max(min(seconds), 1e-9)))
    meters = metering(job.device) if job.probe == IDLE else None
    usable, taken, good = cores(system()), list[Window](), list[Window]()
    while len(good) < job.windows and len(taken) < MOST * job.windows:
        taken.append(window(probe, steps, meters))
        if disturbance(taken[-1], usable) is None:
            good.append(taken[-1])
        else:
            time.sleep(PAUSE)
        events("window", done=len(taken), expected=job.window_seconds)
    bad = [one for one in taken if one not in good]
    kept = [*good, *bad[-len(good) + 1:][:len(good) - 1]] if len(good) >= FEWEST else taken[-job.windows:]
    return RankResult(windows=tuple(sorted(kept, key=lambda one: one.started)), by=probe.by, version=probe.version,
                      size=probe.size, left_out=len(taken) - len(kept), state=probe.state,
                      meters=meters.metered() if meters else (), gpu=cuda_uuid(0) if job.probe in COPIES else None)


def window(probe: Probe, steps: int, meters: Metering | None) -> Window:
    """Return one window of so many steps."""
    started = time.time()
    (clock, seconds), around = watch(lambda: (time.monotonic(), probe.take(steps)), meters=meters)
    return Window(steps=steps, samples=steps * probe.amount, seconds=(seconds,), started=started, clock=clock,
                  foreign_cores=around.foreign_cores, throttled=around.throttled, joules=around.joules,
                  paused=around.paused)
