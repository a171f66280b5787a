"""Turns: workers of jobs that run side by side work one job at a time, and wait for theirs without using a processor.

The program that started them holds a baton for each job. Its workers ask for it over one pipe, and each waits at a pipe
of its own: a blocking read, outside the framework, whose own barriers may spin. Pipes need no room on a full disk.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dlcompare.core.variables import TURNS

ASKS = "asks"


def pipe_of(rank: int) -> str:
    """Return the name of the pipe at which a rank waits."""
    return f"turn-{rank}"


class Turn:
    """A worker's end: it has to wait for its turn if it was started with others, and need not otherwise."""

    def __init__(self, rank: int, variables: Mapping[str, str] = os.environ) -> None:
        self.rank, self.folder = rank, variables.get(TURNS)
        if self.folder:
            self.asks = os.open(Path(self.folder) / ASKS, os.O_WRONLY)
            self.mine = os.open(Path(self.folder) / pipe_of(rank), os.O_RDWR)  # so that it never ends

    @property
    def shared(self) -> bool:
        """Return whether others work in between."""
        return bool(self.folder)

    def wait(self, left: int) -> None:
        """Wait until it is this job's turn; ``left`` is for how many more it will ask, this one included."""
        if self.shared:
            os.write(self.asks, f"{json.dumps({'rank': self.rank, 'left': left})}\n".encode())  # whole: it is short
            with standing_back():
                os.read(self.mine, 1)


@contextmanager
def standing_back() -> Iterator[None]:
    """Let what threads of this process do meanwhile, such as looking for messages, take no core that others want.

    Nothing is done where they could not be brought back: all that follows would be measured in the lowest class.
    """
    if not may_return():
        yield
        return
    schedule(os.SCHED_IDLE)
    try:
        yield
    finally:
        schedule(os.SCHED_OTHER)


def may_return() -> bool:
    """Return whether this process may leave the lowest scheduling class again, tried by a thread that ends then.

    RLIMIT_NICE decides, which is 0 as a rule, and lets root alone.
    """
    returned: list[bool] = []

    def there_and_back() -> None:
        with suppress(OSError):
            for policy in (os.SCHED_IDLE, os.SCHED_OTHER):
                os.sched_setscheduler(0, policy, os.sched_param(0))  # 0: of this thread alone
            returned.append(True)

    thread = threading.Thread(target=there_and_back)
    thread.start()
    thread.join()
    return bool(returned)


def schedule(policy: int) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended, or a container forbids it
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))


class Baton:
    """The other end, for the workers of one job of so many ranks."""

    def __init__(self, ranks: int) -> None:
        self.ranks, self.left = ranks, 0
        self.mark = ""  # of the job's processes, once it has been started
        self.asked: set[int] = set()
        self._pipes: dict[str, int] = {}

    def open(self, folder: Path, mark: str) -> dict[str, str]:
        """Make the pipes in a folder, for the processes that carry a mark; return the variables that tell of them."""
        self.mark = mark
        for name in (ASKS, *map(pipe_of, range(self.ranks))):
            os.mkfifo(folder / name)
            self._pipes[name] = os.open(folder / name, os.O_RDWR | os.O_NONBLOCK)
        return {TURNS: str(folder)}

    def files(self) -> list[int]:
        """Return the descriptors at which asking shows."""
        return [self._pipes[ASKS]] if self._pipes else []

    def waits(self) -> bool:
        """Return whether every rank waits for its turn."""
        with suppress(BlockingIOError):
            for line in os.read(self._pipes[ASKS], 1 << 16).splitlines() if self._pipes else ():
                said = json.loads(line)
                self.asked.add(said["rank"])
                self.left = said["left"]
        return len(self.asked) == self.ranks

    def give(self) -> None:
        """Tell every rank that it is their turn."""
        self.asked.clear()
        for rank in range(self.ranks):
            os.write(self._pipes[pipe_of(rank)], b".")

    def close(self) -> None:
        """Close the pipes; whoever still waits is ended with the job."""
        for file in self._pipes.values():
            os.close(file)
        self._pipes.clear()
