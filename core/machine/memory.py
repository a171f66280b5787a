"""Memory: how much there is for a job, keeping each worker within its share, and knowing that it ran out."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from dlcompare.core.variables import MEMORY

PRESSED = 0.8  # share of its limit from which on a worker's failure is likely one to allocate
# What the C library, C++, NumPy and frameworks say of it, each in words of its own.
RAN_OUT = re.compile(r"out of memory|(can.?t|cannot|unable to|failed to) allocate|not enough memory|MemoryError"
                     r"|bad_alloc|RESOURCE_?EXHAUSTED|\bOOM\b", re.IGNORECASE)
NO_MEMORY = "memory ran out"  # in every reason of ours that says so
PERHAPS = "when memory runs out"  # in every reason that holds it possible: native code may crash for want of it


def free_memory() -> int:
    """Return how many bytes can be used now without swapping, in the machine or in the container if that has less."""
    from .system import memory

    seen = memory()
    return min(size for size in (seen["available_bytes"], seen["limit_bytes"]) if size is not None)


def share(workers: int) -> str:
    """Return what to set the variable to for each of some workers."""
    return os.environ.get(MEMORY) or str(free_memory() // workers)


def own_share() -> int | None:
    """Return how many bytes this worker may take, as its launcher told it; None where nobody counts them."""
    return int(os.environ.get(MEMORY, "0")) or None


def limit_memory() -> None:
    """Make an allocation beyond this worker's share fail here, before the kernel kills something else."""
    if wanted := own_share():
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (least, hard))


def nearly_full() -> str | None:
    """Return how much this process holds if that is nearly all it may take, else None."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = int(status["VmData"].split()[0]) << 10
    if limit == resource.RLIM_INFINITY or held < PRESSED * limit:
        return None
    return f"the worker held {held / 2**30:.2f} of the {limit / 2**30:.2f} GiB that it may take"


def for_want_of_memory(reason: str) -> bool:
    """Return whether a job's reason for failing is that there was no memory left, as far as anybody said so."""
    return NO_MEMORY in reason


def perhaps_for_want_of_memory(reason: str) -> bool:
    """Return whether that is possible: also where the workers died without a word, as native code may."""
    return NO_MEMORY in reason or PERHAPS in reason


def ran_out(text: str) -> bool:
    """Return whether a message says that there is no memory left."""
    return RAN_OUT.search(text) is not None
