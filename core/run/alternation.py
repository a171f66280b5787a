"""Jobs of a round side by side: they start one after another, and then have their windows in turn.

What a slow drift of the machine does to one window it does to the next, of another job, as well. While one job starts,
or has its window, the others wait and use no processor, which is measured. All leave when all are measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import secrets
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlcompare.core.launch.start import POLL_SECONDS, Steps
from dlcompare.core.launch.turns import Baton
from dlcompare.core.machine.memory import free_memory
from dlcompare.core.meters import foreign_load
from dlcompare.core.plan.rounds import Cell
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.record import Record

from .left import with_caveat

IDLE = 0.01  # of the usable cores, that a waiting job may use: it makes others look slower, by half the usual margin
ENOUGH = 2.0  # seconds of waiting, of which processor time, counted in ticks of 10 ms, tells enough
APART = "apart"  # the caveat of a record that has to stand for a whole round
ROOM = 2  # times as much memory as the largest job so far holds must be free for another

Begin = Callable[[Cell, Baton], Steps[Record]]
Take = Callable[[Cell, Record], None]


@dataclass(eq=False)
class Player:
    """One job: its steps to a record, and for each of its windows what the waiting ones used."""

    cell: Cell
    baton: Baton
    steps: Steps[Record]
    ended: bool = False
    waited: float = 0.0  # seconds in which others started or had their windows
    used: float = 0.0  # processor seconds that it used meanwhile
    around: list[float] = field(default_factory=list)
    apart: str = ""  # why its windows are not in turn with others', if they are not

    def step(self) -> Record | None:
        """Go on with what is to be done for it, if it has not ended; return its record when it does."""
        if not self.ended:
            try:
                next(self.steps)
            except StopIteration as ended:
                self.ended = True
                record: Record = ended.value
                return record
        return None

    @property
    def ready(self) -> bool:
        """Return whether it waits for its turn, or has ended."""
        return self.ended or self.baton.waits()

    def restless(self) -> str:
        """Return why it cannot wait beside others; "" if it can, or if that is not known yet."""
        cores = self.used / self.waited if self.waited > ENOUGH else 0.0
        bound = IDLE * len(os.sched_getaffinity(0))
        return f"it used {cores:.2g} cores while it waited; idle is {bound:.2g} at most" if cores > bound else ""

    def seconds(self) -> float:
        """Return the processor seconds that its processes have used."""
        return sum(map(foreign_load.seconds, foreign_load.find_marked(self.baton.mark, Path("/proc"))))


def alternate(cells: Sequence[Cell], begin: Begin, ranks: Callable[[Cell], int], take: Take) -> dict[str, str]:
    """Run cells side by side; ``take`` is given each record when its job ends. Every process has ended then, also on an
    exception.

    Returned is by job id why one is better run by itself: it was not started for want of memory, or it used a processor
    while it waited.
    """
    apart: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        stage = Stage(take, f"{cells[0].round}-{secrets.token_hex(3)}")
        for cell in cells:
            if stage.players and (lack := stage.lacks_room()):
                apart[cell.job.id] = lack
                continue
            baton = Baton(ranks(cell))
            stage.players.append(Player(cell, baton, stack.enter_context(contextlib.closing(begin(cell, baton)))))
            stage.play(stage.players[-1])
        stage.take_turns()
        stage.leave()
    return apart | {player.cell.job.id: player.apart for player in stage.players if player.apart}


@dataclass
class Stage:
    """The jobs that have been started, and whose turn it is; ``turns`` is what their records have in common."""

    take: Take
    turns: str
    players: list[Player] = field(default_factory=list)

    def living(self) -> list[Player]:
        return [player for player in self.players if not player.ended]

    def until(self, done: Callable[[], bool]) -> None:
        """Look after all jobs until something is so."""
        while True:
            for player in self.players:
                if record := player.step():
                    self.take(player.cell, stamped(record, player, self.turns))
            if done():
                return
            files = [file for player in self.living() for file in player.baton.files() if not player.baton.waits()]
            select.select(files, [], [], POLL_SECONDS)

    def play(self, player: Player) -> None:
        """Let a job start, or have its window, while the others wait."""
        others = [one for one in self.living() if one is not player]
        before, begin = [one.seconds() for one in others], time.monotonic()
        started = bool(player.baton.mark)
        if started:
            player.baton.give()
        self.until(lambda: player.ready)
        took = time.monotonic() - begin
        used = [max(0.0, one.seconds() - had) for one, had in zip(others, before, strict=True)]
        for one, seconds in zip(others, used, strict=True):
            one.waited, one.used = one.waited + took, one.used + seconds
        if started:
            player.around.append(sum(used) / took)

    def take_turns(self) -> None:
        """Give all jobs their windows, forwards, backwards, and so on; whoever does not wait idle has them at once."""
        order = list(self.players)
        while any(player.baton.left for player in self.living()):
            for player in order:
                self.dismiss_restless()
                if not player.ended and player.baton.left:
                    self.play(player)
            order.reverse()

    def dismiss_restless(self) -> None:
        """Let jobs that use a processor while they wait have all their windows, and leave."""
        for player in self.living():
            if player.apart or len(self.living()) < 2 or not (why := player.restless()):
                continue
            player.apart = why
            while not player.ended:
                self.play(player)

    def leave(self) -> None:
        """Let one job after another leave: the machine is as idle when meters read it at rest."""
        for player in self.living():
            self.play(player)

    def lacks_room(self) -> str:
        """Return why another job might not fit into memory beside those that wait; "" if it should."""
        held, free = max(map(resident_bytes, self.players)), free_memory()
        if free >= ROOM * held:
            return ""
        return f"{free / 2**30:.1f} GiB of memory were free beside jobs that wait; one of them holds {held / 2**30:.1f}"


def resident_bytes(player: Player) -> int:
    """Return the memory that a job's processes hold together."""
    total = 0
    for process in foreign_load.find_marked(player.baton.mark, Path("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * resource.getpagesize()
    return total


def stamped(record: Record, player: Player, turns: str) -> Record:
    """Return a job's record with what it owes to the others."""
    took = None if record.duration_s is None else max(0.0, record.duration_s - player.waited)
    windows = tuple(dataclasses.replace(one, waiting_cores=cores)
                    for one, cores in zip(record.windows, player.around, strict=False))  # the last is for leaving
    record = dataclasses.replace(record, duration_s=took, turns=None if player.apart else turns, windows=windows)
    return with_caveat(record, Caveat.of(APART, reason=player.apart)) if player.apart else record
