"""The training loop of one rank under the protocol: warm-up, then windows.

A window is: barrier, wait, clock, k steps, wait, clock. Nothing else happens inside.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

from dlcompare.core.errors import JobError
from dlcompare.core.launch.turns import Turn
from dlcompare.core.meters import standstill
from dlcompare.core.plugins.job import Job, learning_rate
from dlcompare.core.worker.metering import Metering
from dlcompare.core.worker.windows import MAX_WARMUP, warm_up, watch

from .result import LossPoint, RankWindow, StepSeconds

if TYPE_CHECKING:
    from dlcompare.core.data.feed import Feed
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Trainer


MANY = 10  # steps of a window: one more that is not timed costs little, and a first one that is slow would show
STARVED = 0.01  # share of a window spent on waiting for input


class Loop:
    """The training loop of one rank: warm-up, then windows; ``meters`` are read around those that are kept."""

    def __init__(self, job: Job, trainer: Trainer, feed: Feed, events: Events, meters: Metering | None = None) -> None:
        self.job, self.trainer, self.feed, self.events = job, trainer, feed, events
        self.turn = Turn(trainer.rank)
        self.meters = meters or Metering((), job.device, rank=trainer.rank)
        self.steps = 0
        self.warmup: list[StepSeconds] = []
        self.windows: list[RankWindow] = []
        self.losses: list[LossPoint] = []
        self.begun, self.clock, self.charged = time.perf_counter(), time.monotonic(), self.meters.read()

    def time_window(self, steps: int) -> RankWindow:
        """Run one window and return its raw values; raises JobError when the loss is not finite on any rank."""
        trainer, feed, job = self.trainer, self.feed, self.job
        rates = [learning_rate(job, step=self.steps + i) for i in range(steps)]
        trainer.gather(0.0)
        trainer.wait()
        waited, started, still = feed.waited, time.time(), standstill.read()
        clock, begin = time.monotonic(), time.perf_counter()
        for rate in rates:
            trainer.step(next(feed), rate)
        loss = trainer.wait()
        seconds = time.perf_counter() - begin
        waited = feed.waited - waited
        self.steps += steps
        peers, losses = trainer.gather(seconds), trainer.gather(loss)
        if not all(map(math.isfinite, losses)):
            raise JobError(f"the loss is {losses} (by rank) after step {self.steps}: training diverged; "
                           f"use a smaller --lr than {job.lr} or a --schedule with warm-up")
        self.losses.append(LossPoint(self.steps - 1, loss))
        return RankWindow(steps=steps, seconds=seconds, peers=tuple(peers), loss=loss, step=self.steps - 1,
                          started=started, clock=clock, feed_seconds=waited, paused=standstill.since(still))

    def warm_up(self) -> bool:
        """Take single steps until two successive ones take about the same time; return whether they did."""
        self.begun, self.clock, self.charged = time.perf_counter(), time.monotonic(), self.meters.read()
        least = self.job.warmup_steps
        for seconds, settled in warm_up(self.slowest_step, least=least, most=max(MAX_WARMUP, least)):
            self.warmup.append(StepSeconds(self.steps - 1, seconds))
            first = len(self.warmup) == 1  # which compiles, and is followed by another single step
            self._report("warm-up", seconds, expected=seconds if first else self.window_steps() * seconds)
            if settled:
                return True
        return False

    def slowest_step(self) -> float:
        """Take one step; return the slowest rank's seconds, the same on every rank."""
        return self.time_window(1).slowest

    def measure(self) -> None:
        """Take the windows, each when it is this job's turn, and leave when it is."""
        steps = self.window_steps()
        for done in range(self.job.windows):
            self.await_turn(self.job.windows - done, steps)
            self.take(steps)
        self.await_turn(0, steps)

    def await_turn(self, left: int, steps: int) -> None:
        """Wait for the turn of a window, with nothing left to do meanwhile, and come back to speed outside its clock.

        Caches and threads are cold then, and more input is ready than a slow feed ever has.
        """
        if not self.turn.shared:
            return
        self.feed.rest()
        self.turn.wait(left)
        if left and steps >= MANY:
            self.time_window(1)
        if left and self.windows and self.starved():
            self.time_window(2 * self.feed.depth)

    def starved(self) -> bool:
        """Return whether any rank waited for its input in the last window; the same on every rank."""
        last = self.windows[-1]
        return max(self.trainer.gather(last.feed_seconds / (last.seconds or math.inf))) > STARVED

    def window_steps(self) -> int:
        """Return how many steps a window has; the same on every rank."""
        return self.job.steps or self.filling(self.job.window_seconds)

    def filling(self, seconds: float) -> int:
        """Return how many steps fill so long; the same on every rank, for it comes from gathered times."""
        return max(1, math.ceil(seconds / self.warmup[-1].seconds))

    def take(self, steps: int) -> None:
        """Run a window that is kept."""
        self.windows.append(self.watched(steps))
        self._report("window", self.windows[-1].slowest / steps, expected=self.windows[-1].slowest)

    def watched(self, steps: int) -> RankWindow:
        """Run one window and return its raw values, with what meters and, on rank 0, the machine say of it."""
        window, around = watch(lambda: self.time_window(steps), meters=self.meters)
        return dataclasses.replace(window, foreign_cores=around.foreign_cores, throttled=around.throttled,
                                   joules=around.joules, counted=around.counted)

    def take_apart(self) -> tuple[RankWindow, ...]:
        """Run one more window for meters that disturb, if every rank has one; its loss is in no series.

        There is none if the loss is not finite in it.
        """
        if not min(self.trainer.gather(float(self.meters.disturbing))):
            return ()
        count = len(self.losses)
        try:
            window = self.meters.apart(lambda: self.watched(self.window_steps()))
        except JobError:  # it diverges now, on all ranks: what was measured before it did is whole
            return ()
        del self.losses[count:]
        return (window,)

    def _report(self, phase: str, step_seconds: float, *, expected: float) -> None:
        """Tell what was done, and in about how many seconds there should be more to tell."""
        if self.trainer.rank == 0:
            rate = self.job.batch * self.job.workers / step_seconds
            done = len(self.windows) if phase == "window" else len(self.warmup)
            self.events(phase, step=self.steps, done=done, samples_per_second=rate, expected=expected)
