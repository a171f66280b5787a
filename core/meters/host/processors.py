"""Processor time: of each core, of the job's processes, and of each worker with its page faults and switches."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.meter import Absent, Meter, Opened, Quantity
from dlcompare.core.variables import JOB_MARK

MOST_CORES = 64  # that are told one by one: a record of some dozen windows stays small
CORES, JOB, WORKERS = "cores", "job", "workers"
USAGE = {"user time": "ru_utime", "system time": "ru_stime", "page faults from memory": "ru_minflt",
         "page faults from disk": "ru_majflt", "switches when waiting": "ru_nvcsw", "switches when due": "ru_nivcsw"}


class Processors(Meter):
    """Seconds that the cores which this process may use were busy, and what a hypervisor took of them, in how many
    ``watched``; seconds that all processes of the job were busy, children that have ended included."""

    name = "processors"
    title = "processor time of each core and of the job (/proc/stat)"

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def open(self, device: str) -> Opened:
        cores = busy_by_core(self.root)
        if not cores:
            raise Absent(f"{self.root / 'proc/stat'} tells of no core: it is Linux's")
        return Cores(self.root, sorted(cores), os.environ.get(JOB_MARK))


class Cores(Opened):
    """The cores, those told one by one first, then all of them together."""

    def __init__(self, root: Path, cores: Sequence[int], mark: str | None) -> None:
        self.root, self.mark, self.cores = root, mark, cores[:MOST_CORES] if len(cores) <= MOST_CORES else []
        self.quantities = [*(Quantity(f"core {core}", "busy", "s") for core in self.cores),
                           *(Quantity(CORES, name, "s") for name in ("watched", "busy", "stolen")),
                           *([Quantity(JOB, "busy", "s")] if mark else [])]
        self.about = {"cores": len(cores)}
        self.absent = {} if self.cores else {
            "core": f"{len(cores)} cores, of which no more than {MOST_CORES} are told one by one"}

    def read(self) -> Sequence[float | None]:
        now = busy_by_core(self.root)
        job = [sum(map(foreign_load.seconds, foreign_load.marked(self.mark, self.root / "proc")))] if self.mark else []
        return [*(now[core][0] if core in now else None for core in self.cores), time.monotonic(),
                sum(busy for busy, _ in now.values()), sum(stolen for _, stolen in now.values()), *job]


def busy_by_core(root: Path) -> dict[int, tuple[float, float]]:
    """Return by core how many seconds it was busy and how many a hypervisor took, of those this process may use."""
    try:
        lines = (root / "proc/stat").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in filter(foreign_load.ours, lines):
        fields = [*map(int, line.split()[1:]), *[0] * 8]
        found[int(line.split()[0][3:])] = ((sum(fields[:3]) + sum(fields[5:7])) / foreign_load.TICKS,
                                           fields[7] / foreign_load.TICKS)
    return found


class Usage(Meter):
    """Seconds in user mode and in the kernel, page faults and context switches of each worker, by the kernel's own
    software counters, which every process may read of itself (``getrusage``)."""

    name = "usage"
    title = "time, page faults, context switches of the workers (getrusage)"

    def open(self, device: str) -> Opened:
        return Used()


class Used(Opened):
    """What this process has used, with all its threads; children tell for themselves."""

    quantities = [Quantity(WORKERS, name, "s" if name.endswith("time") else "", own=True) for name in USAGE]

    def read(self) -> Sequence[float | None]:
        now = resource.getrusage(resource.RUSAGE_SELF)
        return [float(getattr(now, field)) for field in USAGE.values()]
