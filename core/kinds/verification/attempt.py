"""One case tried so that what it raises fails it alone: noted, the other ranks waited for, and the next case begun."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.errors import DlcompareError
from dlcompare.core.launch.failure import paragraph
from dlcompare.core.machine.memory import ran_out

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Trainer

PATIENCE = 60.0  # seconds: for the other ranks to end a case that one has failed, and for a first case to fail
LOOK_SECONDS = 0.02


@dataclass
class Attempts:
    """The cases that one of some ``processes`` tries, and why those failed that raised something, by case.

    All ranks see the folder, and leave a mark in it when they end a case: one that failed in a process alone, while
    the others wait for it in an all-reduce, cannot be passed over, and ends the job.
    """

    folder: Path
    processes: int
    failures: dict[str, str] = field(default_factory=dict)
    observed: int = 0

    def attempt(self, name: str, build: Callable[[], Trainer], observe: Callable[[Trainer], None]) -> bool:
        """Build a trainer, observe a case on it and close it; return whether no rank failed in that.

        What is raised becomes the reason why the case failed, unless it says that the whole job cannot go on.
        """
        begin, trainer = time.monotonic(), None
        try:
            trainer = build()
            observe(trainer)
        except Exception as error:
            traceback.print_exc()
            if self.ends_the_job(error, time.monotonic() - begin):
                raise
            self.failures[name] = paragraph(f"{type(error).__name__}: {error}")
            self.mark(name, "failed")
            if not self.met(name):
                raise
        else:
            self.observed += 1
            self.mark(name, "seen")
        return self.close(name, trainer)

    def ends_the_job(self, error: Exception, seconds: float) -> bool:
        """Return whether an error says something of the machine or the group rather than of a case."""
        lost = not self.observed and seconds > PATIENCE  # each case would take as long to fail
        return lost or isinstance(error, DlcompareError) or ran_out(f"{type(error).__name__}: {error}")

    def mark(self, name: str, word: str) -> None:
        (self.folder / f"{name}.{word}-{os.getpid()}").touch()

    def marks(self, name: str, word: str) -> int:
        return sum(1 for _ in self.folder.glob(f"{name}.{word}-*"))

    def met(self, name: str) -> bool:
        """Wait for all ranks to end a case, and return whether they did."""
        deadline = time.monotonic() + PATIENCE
        while self.marks(name, "failed") + self.marks(name, "seen") < self.processes:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def close(self, name: str, trainer: Trainer | None) -> bool:
        """Let the ranks leave a case together; return whether it failed in none. One that all failed has no barrier."""
        if name in self.failures and not self.marks(name, "seen"):
            with contextlib.suppress(Exception):  # of a trainer that is broken already
                if trainer is not None:
                    trainer.close()
            return False
        if trainer is not None:
            trainer.gather(0.0)
            trainer.close()
        return not self.marks(name, "failed")
