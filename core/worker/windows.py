"""The training loop of one rank under the protocol: warm-up, then windows.

A window is: barrier, wait, clock, k steps, wait, clock. Nothing else happens inside.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import JobError
from dlcompare.core.meters import foreign_load
from dlcompare.core.plugins.job import Job, learning_rate
from dlcompare.core.variables import JOB_MARK

if TYPE_CHECKING:
    from dlcompare.core.data.feed import Feed
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Trainer

MAX_WARMUP = 25  # steps
SETTLED = 1.15  # two successive warm-up steps whose times differ by less than this factor


class Run:
    """The training loop of one rank: warm-up, then windows."""

    def __init__(self, job: Job, trainer: Trainer, feed: Feed, events: Events) -> None:
        self.job, self.trainer, self.feed, self.events = job, trainer, feed, events
        self.steps = 0
        self.warmup: list[dict[str, Any]] = []
        self.windows: list[dict[str, Any]] = []
        self.losses: list[dict[str, Any]] = []
        self.begun = time.perf_counter()

    def timed(self, steps: int) -> dict[str, Any]:
        """Run one window and return its raw values; raises JobError when the loss is not finite on any rank."""
        trainer, feed, job = self.trainer, self.feed, self.job
        rates = [learning_rate(job, step=self.steps + i) for i in range(steps)]
        trainer.gather(0.0)
        trainer.wait()
        waited, started = feed.waited, time.time()
        begin = time.perf_counter()
        for rate in rates:
            trainer.step(next(feed), rate)
        loss = trainer.wait()
        seconds = time.perf_counter() - begin
        waited = feed.waited - waited
        self.steps += steps
        peers = trainer.gather(seconds)
        losses = trainer.gather(loss)
        if not all(map(math.isfinite, losses)):
            raise JobError(f"the loss is {losses} (by rank) after step {self.steps}: training diverged; "
                           f"use a smaller --lr than {job.lr} or a --schedule with warm-up")
        self.losses.append({"step": self.steps - 1, "loss": loss})
        return {"steps": steps, "seconds": seconds, "peers": peers, "loss": loss, "step": self.steps - 1,
                "started": started, "feed_seconds": waited}

    def watched(self, steps: int) -> dict[str, Any]:
        """Run one window and return its raw values, with what the machine did for others meanwhile."""
        mark = os.environ.get(JOB_MARK) if self.trainer.rank == 0 else None  # one rank speaks for the machine
        begin, before = time.perf_counter(), foreign_load.read(mark) if mark else None
        window = self.timed(steps)
        after = foreign_load.read(mark) if mark else None
        return window | foreign_load.others(before, after, seconds=time.perf_counter() - begin)

    def warm_up(self) -> bool:
        """Take single steps until two successive ones take about the same time; return whether they did."""
        self.begun = time.perf_counter()
        least, most = self.job.warmup_steps, max(MAX_WARMUP, self.job.warmup_steps)
        while len(self.warmup) < most:
            slowest = max(self.timed(1)["peers"])
            self.warmup.append({"step": self.steps - 1, "seconds": slowest})
            self._report("warm-up", slowest)
            if len(self.warmup) >= max(2, least):
                last, before = slowest, self.warmup[-2]["seconds"]
                if max(last, before) < SETTLED * min(last, before):
                    return True
        return False

    def measure(self) -> None:
        """Take the windows."""
        steps = self.job.steps or self.filling(self.job.window_seconds)
        for _ in range(self.job.windows):
            self.take(steps)

    def filling(self, seconds: float) -> int:
        """Return how many steps fill so long; the same on every rank, for it comes from gathered times."""
        return max(1, math.ceil(seconds / self.warmup[-1]["seconds"]))

    def take(self, steps: int) -> None:
        """Run a window that is kept."""
        self.windows.append(self.watched(steps))
        self._report("window", max(self.windows[-1]["peers"]) / steps)

    def _report(self, phase: str, step_seconds: float) -> None:
        if self.trainer.rank == 0:
            rate = self.job.batch * self.job.workers / step_seconds
            done = len(self.windows) if phase == "window" else len(self.warmup)
            self.events(phase, step=self.steps, done=done, samples_per_second=rate)
