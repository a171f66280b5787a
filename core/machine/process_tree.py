"""Who started whom (Linux), and keeping hold of processes whose parents have gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

SET, GET = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of <linux/prctl.h>


class Entry(NamedTuple):
    """What the kernel tells of a process; ``state`` is Z once it has ended and waits to be reaped."""

    parent: int
    session: int
    state: str


def processes() -> dict[int, Entry]:
    """Return all processes by number; none where the system does not tell."""
    found = {int(file.name): entry(int(file.name)) for file in Path("/proc").glob("[0-9]*")}
    return {pid: one for pid, one in found.items() if one is not None}


def entry(pid: int) -> Entry | None:
    """Return what the kernel tells of a process; None if there is none of this number, or nobody tells."""
    try:  # a name may end within a letter
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        state, parent, _, session = text.rpartition(")")[2].split()[:4]
        return Entry(int(parent), int(session), state)
    except (OSError, ValueError):
        return None


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


class Alone:
    """Whether all children of this process are its own doing: said by a program at its start (``claim``).

    A container's first process is given the orphans of all others, one that a shell has become the shell's children,
    and a program that only calls this package starts some itself: none of them may take those for a job's.
    ``jobs`` counts those that run side by side now; ``known`` are the children there were before the first of them.
    """

    claimed = False
    jobs = 0
    known: ClassVar[set[int]] = set()
    adopted = False


def claim() -> None:
    """Say at a program's start that whatever becomes a child of this process comes from it, if that is so."""
    Alone.claimed = os.getpid() != 1 and not children()


def children() -> set[int]:
    return {pid for pid, one in processes().items() if one.parent == os.getpid()}


@contextlib.contextmanager
def adopt_orphans() -> Iterator[set[int] | None]:
    """Become the parent of descendants whose own has gone; yield the children there were before. Linux alone can.

    None, and nothing is done, in a process that others' orphans come to as well. Blocks of jobs that run side by side
    may begin and end in any order; what was before is what was before the first.
    """
    if not Alone.claimed:
        yield None
        return
    if not Alone.jobs:
        Alone.known, Alone.adopted = children(), adopting(True)
    Alone.jobs += 1
    try:
        yield Alone.known
    finally:
        Alone.jobs -= 1
        if not Alone.jobs:
            adopting(Alone.adopted)


def side_by_side() -> bool:
    """Return whether several jobs run now, so that what has lost its parent and its mark may be any one's."""
    return Alone.jobs > 1


def exempt(pid: int) -> None:
    """Say of a child of this process that it is no job's although one runs: it is not ended as what a job has left."""
    Alone.known.add(pid)


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
