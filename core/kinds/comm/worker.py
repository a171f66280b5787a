"""What one process of a collective's job does: join, run every size under the clock, check every result, leave it."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.machine.memory import own_share
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.worker.ranks import known_rank, leave, resident_bytes
from dlcompare.core.worker.windows import clock, warm_up, watch

from .observe import observe
from .payload import TURNS, check, given
from .result import RankPoint, RankResult, Wrong
from .sizes import once, parse, words

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Backend
    from dlcompare.core.plugins.collectives import Call, Collectives

LEAST_CALLS = 5
CHECKING_SHARE = 0.5  # of the time that a size may take: for calls that are checked and not timed
LEAST_WARMUP, MOST_WARMUP = 3, 20
FREE_SHARE = 0.9  # of free memory: what is left is for everything else


def work(job: CollectiveJob, folder: Path, events: Events) -> None:
    """Do what the job's task is: run a collective over all sizes, or find out what a training step sends."""
    {"measure": measure, "observe": observe}[job.task](job, folder, events)


def measure(job: CollectiveJob, folder: Path, events: Events) -> None:
    """Run a collective over all sizes and leave this rank's raw result."""
    times = [time.perf_counter()]
    sizes = {*parse(job.sizes)[0], *(one.size for found in job.messages.values() for one in found)}
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    times.append(time.perf_counter())
    events("build", **known_rank(backend))
    engine = backend.collectives(job)
    times.append(time.perf_counter())
    points = Bench(job, backend, engine, events).points(sorted(sizes))
    startup = {"import": times[1] - times[0], "build": times[2] - times[1]}
    leave(RankResult(engine.rank, engine.world, tuple(points), Choices.of(engine.settings()), engine.versions(),
                     resident_bytes(), startup), folder, rank=engine.rank)
    engine.barrier()  # nobody leaves, and is taken for dead, before all have written
    engine.close()


@dataclass(eq=False)
class Bench:
    """One collective of one engine, size after size."""

    job: CollectiveJob
    backend: Backend
    engine: Collectives
    events: Events
    wrong: list[Wrong] = field(default_factory=list)  # of the size at hand
    checked: int = 0

    def points(self, sizes: Iterable[int]) -> Iterator[RankPoint]:
        """Yield what was measured of each size, out of place, then in place where the engine is."""
        ways = [False, True] if self.job.collective in self.engine.in_place else [False]
        for (size, asked), in_place in itertools.product(once(sizes, self.engine.world).items(), ways):
            point = RankPoint(size=size, asked=asked, in_place=in_place)
            reason = self.backend.refuse_collective(self.job, size=size) or self.too_large(size)
            yield dataclasses.replace(point, refused=reason) if reason else self.measured(point)

    def too_large(self, size: int) -> str | None:
        """Return why a size does not fit into a worker's share of memory, the same for every rank."""
        share, need = own_share(), self.engine.copies * size
        if share is None or need <= FREE_SHARE * share:
            return None
        fits = int(FREE_SHARE * share / self.engine.copies)
        return (f"{words(size)} takes about {need / 2**30:.2f} GiB of each of {self.engine.world} workers (payloads, "
                f"result and what the engine holds), and {FREE_SHARE * share / 2**30:.2f} GiB are free for it; up to "
                f"{words(fits)} fit")

    def measured(self, point: RankPoint) -> RankPoint:
        """Return a point with the times of its calls; others are checked before and after, and the last of these.

        Nothing but the barrier lies between two timed calls: checks there made them up to four times as slow on a
        machine that had other work.
        """
        job, engine = self.job, self.engine
        self.wrong, self.checked = [], 0
        payloads = [given(job.collective, point.size, rank=engine.rank, world=engine.world, turn=turn)
                    for turn in range(TURNS)]
        call = engine.call(job.collective, payloads, in_place=point.in_place)
        slow = max(self.checking(call, point, number) for number in range(-TURNS, 0))
        warm = [seconds for seconds, _ in warm_up(lambda: max(engine.gather(clock(lambda: self.once(call, 0)))),
                                                  least=LEAST_WARMUP, most=MOST_WARMUP)]
        calls = min(job.iterations, max(LEAST_CALLS, math.floor(job.size_seconds / warm[-1])))
        checks = min(calls, max(TURNS, math.floor(CHECKING_SHARE * job.size_seconds / slow)))
        self.tell(point, expected=calls * warm[-1] + checks * slow)
        started, begin = time.time(), time.perf_counter()
        taken, around = watch(lambda: self.timed(call, point, calls))
        watched = time.perf_counter() - begin
        for number in range(calls, calls + checks):
            self.checking(call, point, number)
        return dataclasses.replace(
            point, seconds=taken, warmup=len(warm), checked=self.checked, started=started, watched=watched,
            ended="calls" if calls == job.iterations else "seconds", foreign_cores=around.foreign_cores,
            throttled=around.throttled, paused=around.paused, wrong=self.wrong[0] if self.wrong else None)

    def timed(self, call: Call, point: RankPoint, calls: int) -> tuple[float, ...]:
        """Return the seconds of so many calls on this rank; the last one's result is checked."""
        last = calls - 1
        call.ready(0)
        taken = [self.once(call, number % TURNS) for number in range(last)]
        call.ready(last % TURNS)
        taken.append(self.once(call, last % TURNS))
        self.check(call, point, last)
        return tuple(taken)

    def once(self, call: Call, turn: int) -> float:
        """Run one call when all ranks have come, and return its seconds on this rank."""
        self.engine.barrier()
        begin = time.perf_counter()
        call.run(turn)
        return time.perf_counter() - begin

    def checking(self, call: Call, point: RankPoint, number: int) -> float:
        """Run one call and check what it left; return the seconds of all that on the slowest rank."""
        begin = time.perf_counter()
        call.ready(number % TURNS)
        self.once(call, number % TURNS)
        self.check(call, point, number)
        return max(self.engine.gather(time.perf_counter() - begin))

    def check(self, call: Call, point: RankPoint, number: int) -> None:
        """Hold a result against what it must be, and keep what is wrong with it."""
        self.checked += 1
        found = check(call.result(), self.job.collective, point.size, rank=self.engine.rank, world=self.engine.world,
                      turn=number % TURNS)
        if found:
            self.wrong.append(dataclasses.replace(found, call=number))

    def tell(self, point: RankPoint, *, expected: float) -> None:
        if self.engine.rank == 0:
            self.events("sizes", text=words(point.size) + " in place" * point.in_place, rank=0, expected=expected)


