"""Start and end the process that samples meters beside a job, and read again what it has written."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.machine.inherited import for_workers
from dlcompare.core.machine.process_tree import exempt
from dlcompare.core.meters import series
from dlcompare.core.meters.meter import SERIES, Metered
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.energy import REST_SECONDS
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.core.variables import PARENT, PLUGINS, SAMPLES

from .sampler import RESTING, wanted

OPENING_SECONDS = 20.0  # for all meters to open: a driver that keeps nothing loaded takes some
FIRST_SECONDS = 0.2  # until what has said that it is ready has read once
IDLE_SECONDS = 2.0  # after a job, before its meters are left: an average over the last second has then forgotten it
ENDING_SECONDS = 5.0
CHILD = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[1].split("\\n")
from dlcompare.core.launch.sampler import sample
sample(Path(sys.argv[2]), *sys.argv[3:])
"""


@contextlib.contextmanager
def sampled(job: BaseJob, folder: Path, *, idle: float = IDLE_SECONDS) -> Iterator[int | None]:
    """Sample meters from before the block to some seconds after it, if any is wanted; a sampler that fails is no harm.
    Where they tell what rest takes, the block begins when they have seen enough of it.

    Where there are more cores than the job has threads, the sampler has one for itself, which is yielded, for the job
    to be started on the others (``kept_off``).
    """
    if not wanted(job.device):
        yield None
        return
    spare = spare_core(job, sorted(os.sched_getaffinity(0)))
    try:
        process, resting = start(folder / SAMPLES, job.device, spare)
    except OSError as error:  # no process or file to be had, which is the job's to meet
        leave_word(folder / SAMPLES, f"the process that samples meters cannot be started: {error}")
        yield None
        return
    try:
        if resting:
            time.sleep(REST_SECONDS + FIRST_SECONDS)
        yield spare
        if resting and process.poll() is None:
            time.sleep(idle)
    finally:
        end(process)


def leave_word(file: Path, reason: str) -> None:
    """Leave in a sampler's file why there was none."""
    with contextlib.suppress(OSError):
        file.write_text(json.dumps({"meters": [to_plain(Metered("sampler", SERIES, reason=reason))]}) + "\n")


def start(file: Path, device: str, core: int | None) -> tuple[subprocess.Popen[bytes], bool]:
    """Start the sampler; return it when it reads, or will not, and whether it reads what the rest after a job tells of.
    """
    argv = [sys.executable, "-I", "-c", CHILD, "\n".join(sys.path), str(file), device,
            "" if core is None else str(core)]
    environment = {**for_workers(), PARENT: str(os.getpid()), PLUGINS: ",".join(plugins().external())}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=environment, start_new_session=True)  # Ctrl-C is ours: it ends when we say so
    exempt(process.pid)  # beside a job that waits for its turn, whose end is not this one's
    assert process.stdout is not None
    told = select.select([process.stdout], [], [], OPENING_SECONDS)[0]
    return process, bool(told) and process.stdout.readline().strip() == RESTING


def end(process: subprocess.Popen[bytes]) -> None:
    """End the sampler, by the end of its input, or by force if it does not heed that."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel holds it, in a driver that hangs
            process.wait(ENDING_SECONDS)
    process.stdout.close()


def spare_core(job: BaseJob, cores: Sequence[int]) -> int | None:
    """Return a core that nothing of a job needs, None if it needs all that there are.

    Beside the threads that compute, each worker has one that feeds it, or a peer, and the processes that load its data.
    """
    loaders = getattr(job, "loaders", 0)
    each = getattr(job, "threads", 1) + 1 + (max(loaders, default=0) if isinstance(loaders, tuple) else loaders)
    return cores[-1] if len(cores) > each * getattr(job, "workers", 1) else None


@contextlib.contextmanager
def kept_off(core: int | None) -> Iterator[None]:
    """Keep what this thread starts meanwhile off a core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read(file: Path) -> tuple[Metered, ...]:
    """Return what a sampler has written, with series; nothing where none was started.

    A line that was cut off is left out; without the last, a meter is told to have been lost.
    """
    if not file.exists():
        return ()
    lines = list(parsed(file))
    told = [line["meters"] for line in lines if isinstance(line, dict)]
    if not told:
        return (Metered("sampler", SERIES, reason="the process that samples meters ended before it had opened any; "
                        "nothing was read beside the job"),)
    meters = [from_plain(Metered, one, what="meter") for one in told[-1]]
    if len(told) == 1:
        meters = [one if one.reason else dataclasses.replace(one, lost="the process that samples meters ended midway")
                  for one in meters]
    readings = [[line for line in lines if isinstance(line, list) and line[1] == number]
                for number in range(len(meters))]
    return tuple(with_series(*pair) for pair in zip(meters, readings, strict=True))


def parsed(file: Path) -> Iterator[Any]:
    for line in file.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def with_series(metered: Metered, readings: Sequence[Sequence[Any]]) -> Metered:
    """Return a meter with the series of what it read."""
    found = (series.compact(quantity.key, ((clock, values[place]) for clock, _, values in readings))
             for place, quantity in enumerate(metered.quantities))
    return dataclasses.replace(metered, series=tuple(one for one in found if one))
