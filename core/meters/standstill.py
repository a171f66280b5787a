"""How long this process stood still: stopped, frozen with its container, or suspended with the machine (Linux).

A suspension shows in the clock that goes on meanwhile. In a stop all clocks go on, and a thread that naps comes back
late: ``lifeline`` has one in every worker, and what Python's threads did meanwhile tells a stop from a held GIL.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LATE = 1.0  # seconds; less is what a busy machine does


@dataclass(frozen=True)
class Nap:
    """When a nap began and should end, by the monotonic clock, and how long each thread had worked when it began.

    ``late`` is the sum of the seconds by which earlier naps ended late; ``ended`` what threads had worked that were no
    more.
    """

    late: float = 0.0
    begun: float = 0.0
    due: float = math.inf
    worked: Mapping[int, float] = field(default_factory=dict)
    ended: float = 0.0


class Sleeper:
    """Adds up the seconds by which naps ended late although no thread of Python's worked meanwhile."""

    def __init__(self) -> None:
        self._nap = Nap()  # as one object: other threads ask while one is followed by the next

    @contextlib.contextmanager
    def nap(self, seconds: float) -> Iterator[None]:
        """Watch over a nap of so many seconds, which is the block."""
        begun = time.monotonic()
        self._nap = Nap(self._nap.late, begun, begun + seconds, seconds_by_thread(), seconds_of_ended())
        yield
        self._nap = Nap(self.now())

    def now(self) -> float:
        """Return the sum, with what a nap that should be over is late by."""
        nap, now = self._nap, time.monotonic()
        if now - nap.due <= LATE:
            return nap.late
        busiest = max(seconds - nap.worked.get(thread, 0.0) for thread, seconds in seconds_by_thread().items())
        idle = now - nap.begun - max(busiest, seconds_of_ended() - nap.ended)
        return nap.late + (now - nap.due if idle > max(LATE, nap.due - nap.begun) else 0.0)


OWN = Sleeper()


def read() -> float:
    """Return how many seconds this process has stood still, or the machine slept, from any moment on."""
    return OWN.now() + time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def since(before: float) -> float:
    """Return how long this process has stood still since a reading; 0.0 for less than could be told."""
    found = read() - before
    return found if found > LATE else 0.0


def seconds_by_thread() -> dict[int, float]:
    """Return how long each of Python's threads has worked, or waited for a core: one may have held the GIL."""
    return {thread.native_id: thread_seconds(thread) for thread in threading.enumerate() if thread.native_id}


def seconds_of_ended() -> float:
    """Return how long threads have worked that are no more, Python's or not; 0.0 from a kernel that does not tell."""
    living, told = 0, False
    for file in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError):  # it may have ended
            living, told = living + int(file.read_text().split()[0]), True
    return time.process_time() - living / 1e9 if told else 0.0


def thread_seconds(thread: threading.Thread) -> float:
    with contextlib.suppress(OSError, ValueError):  # a kernel that does not tell
        worked, waited, _ = map(int, Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split())
        return (worked + waited) / 1e9
    if thread is threading.main_thread():
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
    return 0.0  # it may have ended, and its clock with it


class Patience:
    """A clock that does not go on while this process stands still: one that is read often gains little from call to
    call."""

    def __init__(self) -> None:
        self.seconds, self.last = 0.0, time.monotonic()

    def __call__(self) -> float:
        """Return the seconds so far."""
        now = time.monotonic()
        self.seconds, self.last = self.seconds + min(now - self.last, LATE), now
        return self.seconds
