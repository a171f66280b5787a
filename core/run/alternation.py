"""Jobs of a round side by side: they start one after another, and then have their windows in turn.

What a slow drift of the machine does to one window it does to the next, of another job, as well. While one job starts,
or has its window, the others wait and use no processor, which is measured. All leave when all are measured.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from dlcompare.core.records.record import Record

IDLE = 0.02  # cores that a waiting job may use on average: less than half of what disturbs a window of two cores
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
    around: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)  # cores it used itself, by window of another

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
    return apart | {player.cell.job.id: why for player in stage.players if (why := restless(player))}


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
        used = [max(0.0, one.seconds() - had) / took for one, had in zip(others, before, strict=True)]
        for one, cores in zip(others, used, strict=True):
            one.waited += took
            if started and not one.ended:
                one.idle.append(cores)
        if started:
            player.around.append(sum(used))

    def take_turns(self) -> None:
        """Give all jobs their windows, forwards, backwards, and so on."""
        order = list(self.players)
        while any(player.baton.left for player in self.living()):
            for player in order:
                if not player.ended and player.baton.left:
                    self.play(player)
            order.reverse()

    def leave(self) -> None:
        """Let all jobs leave at once: nobody measures any more."""
        for player in self.living():
            player.baton.give()
        self.until(lambda: not self.living())

    def lacks_room(self) -> str:
        """Return why another job might not fit into memory beside those that wait; "" if it should."""
        held, free = max(map(resident_bytes, self.players)), free_memory()
        if free >= ROOM * held:
            return ""
        return f"{free / 2**30:.1f} GiB of memory were free beside those that wait, one of which holds {held / 2**30:.1f}"


def resident_bytes(player: Player) -> int:
    """Return the memory that a job's processes hold together."""
    total = 0
    for process in foreign_load.find_marked(player.baton.mark, Path("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * select.PIPE_BUF
    return total


def restless(player: Player) -> str:
    """Return why a job cannot wait beside others, "" if it can: how many cores it used meanwhile."""
    used = sum(player.idle) / len(player.idle) if player.idle else 0.0
    return f"it used {used:.2g} cores while it waited for its turn" if used > IDLE else ""


def stamped(record: Record, player: Player, turns: str) -> Record:
    """Return a job's record with what it owes to the others."""
    took = None if record.duration_s is None else max(0.0, record.duration_s - player.waited)
    if not player.idle or len(player.around) != len(record.windows):
        return dataclasses.replace(record, duration_s=took)
    windows = tuple(dataclasses.replace(one, waiting_cores=cores)
                    for one, cores in zip(record.windows, player.around, strict=True))
    return dataclasses.replace(record, duration_s=took, turns=turns, windows=windows)
