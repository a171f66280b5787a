"""A cell's files, out of memory and in it, and what the job's processes read and computed meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlcompare.core.data.stream import NATIVE, Source, source_of
from dlcompare.core.machine.topology import topology
from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.host.page_cache import drop, residency
from dlcompare.core.meters.host.storage import moved
from dlcompare.core.variables import JOB_MARK

from .request import IoJob
from .result import COLD

PROC = Path("/proc")
TRIES, PAUSE = 6, 0.5  # seconds between two of them


class Used(NamedTuple):
    """Processor seconds, and bytes from the device, of the job's processes so far; None where nobody tells."""

    cpu: float | None
    read: int | None

    def since(self, before: Used) -> Used:
        """Return what was used since an earlier reading."""
        cpu = None if self.cpu is None or before.cpu is None else self.cpu - before.cpu
        read = None if self.read is None or before.read is None else self.read - before.read
        return Used(cpu, read)


def evict(files: Sequence[Path]) -> None:
    """Have the kernel drop the pages of files, as often as needed: a pipeline may still be reading ahead.

    Pages that some process has mapped stay, as ``residency`` then tells.
    """
    for _ in range(TRIES):
        drop(files)
        if (residency(files).share or 0.0) <= COLD:
            return
        time.sleep(PAUSE)


def used() -> Used:
    """Return what the job's living processes, and the children they have waited for, have used so far."""
    mark = os.environ.get(JOB_MARK)
    there = foreign_load.find_marked(mark, PROC) if mark else []
    found = [moved(process) for process in there]
    known = [one.read for one in found if one is not None]
    return Used(sum(map(foreign_load.seconds, there)) if there else None,
                sum(known) if known and len(known) == len(found) else None)


def source_for(job: IoJob) -> Source:
    """Return what a cell reads, without the samples that it leaves out."""
    return source_of(job.source, job.inputs, batch=job.batch, loaders=job.loaders[0], seed=job.seed,
                     skip=job.skip, numbered=job.pipeline == NATIVE)


def files_of(source: Source) -> list[Path]:
    """Return the files that hold a split."""
    shards = [Path(path) for path in source.files]
    return shards or [Path(str(source.found.place(row))) for row in range(len(source.found.names))]


def size(files: Sequence[Path]) -> int:
    """Return the bytes of some files."""
    return sum(file.stat().st_size for file in files)


def hypervisor() -> bool:
    """Return whether this is a virtual machine, whose host may hold what was dropped here."""
    return bool(topology().get("hypervisor"))
