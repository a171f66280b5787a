"""Memory: how much there is for a job, keeping each worker within its share, and knowing that it ran out."""

from __future__ import annotations

import os
import re
import resource

VARIABLE = "DLCOMPARE_MEMORY"  # bytes that one worker may take; a user may set it, else it is a share of what is free
# What the C library, C++, NumPy and frameworks say of it, each in words of its own.
RAN_OUT = re.compile(r"out of memory|(can.?t|cannot|unable to|failed to) allocate|not enough memory|MemoryError"
                     r"|bad_alloc|RESOURCE_?EXHAUSTED|\bOOM\b", re.IGNORECASE)


def free_memory() -> int:
    """Return how many bytes can be used now without swapping, in the machine or in the container if that has less."""
    from .system import memory

    seen = memory()
    return min(size for size in (seen["available_bytes"], seen["limit_bytes"]) if size is not None)


def share(workers: int) -> str:
    """Return what to set the variable to for each of some workers."""
    return os.environ.get(VARIABLE) or str(free_memory() // workers)


def limit_memory() -> None:
    """Make an allocation beyond this worker's share fail here, before the kernel kills something else."""
    wanted = int(os.environ.get(VARIABLE, "0"))
    if wanted:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (least, hard))


def ran_out(text: str) -> bool:
    """Return whether a message says that there is no memory left."""
    return RAN_OUT.search(text) is not None
