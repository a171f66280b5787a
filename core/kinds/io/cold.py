"""Files out of memory and what of them is in it, and what the job's processes read and computed meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.host.storage import moved
from dlcompare.core.variables import JOB_MARK

PROC = Path("/proc")


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
    """Have the kernel drop the pages of files, which needs the right to read them and no more.

    Dirty pages would only begin to be written, so they are brought to the disk first; pages that some process has
    mapped stay, as ``residency`` then tells.
    """
    for file in files:
        with contextlib.suppress(OSError):  # whoever reads it afterwards says what is wrong with it
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def used() -> Used:
    """Return what the job's living processes, and the children they have waited for, have used so far."""
    mark = os.environ.get(JOB_MARK)
    there = foreign_load.find_marked(mark, PROC) if mark else []
    found = [moved(process) for process in there]
    known = [one.read for one in found if one is not None]
    return Used(sum(map(foreign_load.seconds, there)) if there else None,
                sum(known) if known and len(known) == len(found) else None)
