"""Who started whom (Linux), and keeping hold of processes whose parents have gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

SET, GET = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of <linux/prctl.h>


class Entry(NamedTuple):
    """What the kernel tells of a process; ``state`` is Z once it has ended and waits to be reaped."""

    parent: int
    session: int
    state: str


def processes() -> dict[int, Entry]:
    """Return all processes by number; none where the system does not tell."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            state, parent, _, session = file.read_text().rpartition(")")[2].split()[:4]
            found[int(file.parent.name)] = Entry(int(parent), int(session), state)
    return found


def descendants(table: Mapping[int, Entry], ancestor: int) -> set[int]:
    """Return the processes that one has started, and what those have started."""
    found: set[int] = set()
    new = {ancestor}
    while new:
        new = {pid for pid, entry in table.items() if entry.parent in new} - found
        found |= new
    return found


def strays(table: Mapping[int, Entry], known: set[int]) -> set[int]:
    """Return the descendants of this process that are neither ``known`` children of it nor started by itself.

    What it starts itself stays in its session unless it is a job's launcher; what a job leaves behind does not.
    """
    own = os.getpid()
    heads = {pid for pid, entry in table.items()
             if entry.parent == own and pid not in known and entry.session != os.getsid(0)}
    return heads.union(*(descendants(table, head) for head in heads))


@contextlib.contextmanager
def adopt_orphans() -> Iterator[set[int]]:
    """Become the parent of descendants whose own has gone; yield the children there were before. Linux alone can."""
    known = {pid for pid, entry in processes().items() if entry.parent == os.getpid()}
    before = adopting(True)
    try:
        yield known
    finally:
        adopting(before)


def adopting(wanted: bool) -> bool:
    """Say whether this process is to adopt orphans; return whether it did so far."""
    if sys.platform != "linux":
        return False
    before = ctypes.c_int()
    with contextlib.suppress(OSError, AttributeError):  # no such call in this C library
        prctl = ctypes.CDLL(None).prctl
        prctl(GET, ctypes.byref(before), 0, 0, 0)
        prctl(SET, ctypes.c_ulong(wanted), 0, 0, 0)
    return bool(before.value)


def reap(table: Mapping[int, Entry], pids: set[int]) -> None:
    """Take note of adopted children that have ended, so that the kernel forgets them."""
    for pid in pids:
        if table[pid].state == "Z" and table[pid].parent == os.getpid():
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
