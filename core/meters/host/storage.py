"""Bytes that the job's processes really moved to and from storage: what the page cache held is not among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.meter import Absent, Meter, Opened, Quantity
from dlcompare.core.variables import JOB_MARK

JOB = "job"


class Storage(Meter):
    """Bytes read from and written to storage by all processes of the job (``/proc/PID/io``), page faults of mapped
    files and children that have ended included; writing counts when a page is made dirty, not when it is on the disk.
    """

    name = "storage"
    title = "bytes that the job moved from and to storage (/proc/PID/io)"

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def open(self, device: str) -> Opened:
        mark = os.environ.get(JOB_MARK)
        if mark is None:
            raise Absent(f"no process carries {JOB_MARK}, by which those of a job are known")
        proc = self.root / "proc"
        there = foreign_load.marked(mark, proc)
        if not there:
            raise Absent(f"{proc} shows no process of this job")
        if not any((process / "io").exists() for process in there):
            raise Absent("this kernel does not count the bytes of a process (CONFIG_TASK_IO_ACCOUNTING)")
        if all(moved(process) is None for process in there):
            raise Absent(f"{there[0] / 'io'} may not be read: a process that has changed its user, or a container, "
                         "forbids it; run the job as one user, or with CAP_SYS_PTRACE")
        return Moved(proc, mark)


@dataclass(frozen=True)
class Process:
    """What one process has moved, in bytes, and which one started it."""

    read: int
    written: int
    parent: int


class Moved(Opened):
    """What the job's processes have moved. A process that has gone is in the count of the one that waited for it; where
    that is none of the job's, its bytes are lost, and so is the reading."""

    quantities = [Quantity(JOB, "read from storage", "B"), Quantity(JOB, "written to storage", "B")]

    def __init__(self, proc: Path, mark: str) -> None:
        self.proc, self.mark = proc, mark
        self.last: dict[str, Process] = {}

    def read(self) -> Sequence[float | None]:
        there = {process.name: moved(process) for process in foreign_load.marked(self.mark, self.proc)}
        now = {pid: found for pid, found in there.items() if found}
        gone = self.last.keys() - now.keys()
        whole = all(self.last[pid].parent and str(self.last[pid].parent) in now for pid in gone)
        self.last = now
        if not whole or len(now) < len(there) or not now:
            return [None, None]
        return [float(sum(one.read for one in now.values())), float(sum(one.written for one in now.values()))]


def moved(process: Path) -> Process | None:
    """Return what a process has moved; None if it does not tell, or has gone."""
    try:
        io = dict(line.split(": ") for line in (process / "io").read_text().splitlines())
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        return Process(int(io["read_bytes"]), int(io["write_bytes"]), parent)
    except (OSError, ValueError, KeyError, IndexError):
        return None
