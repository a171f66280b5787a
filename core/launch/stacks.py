"""Where every worker stands when a job reports nothing any more: asked for by a signal, kept in the job's folder."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.frames import main_thread
from dlcompare.core.machine.process_tree import entry
from dlcompare.core.variables import STACKS

ASK = signal.SIGUSR1
ANSWER_SECONDS, LOOK_SECONDS = 2.0, 0.02
HEAD = "== process "
LIBRARY = re.compile(r"^<|/(site|dist)-packages/")  # what a framework makes of its own as it runs is in no file
MEETING = ("gather", "wait", "join", "meet")  # of a trainer: nobody leaves them before all have come


def invite(folder: Path) -> None:
    """Make the file in which the workers of a job are to write where they stand."""
    with contextlib.suppress(OSError):  # a full disk: then nobody is asked
        (folder / STACKS).touch()


def offer(folder: Path) -> None:
    """Let this process write where its threads stand whenever it is asked, also from within native code."""
    if (folder / STACKS).exists():  # else nobody will ask
        faulthandler.register(ASK, file=(folder / STACKS).open("ab"), all_threads=True)


def ask(folder: Path, pids: Collection[int]) -> None:
    """Have workers, which have all offered it, write where they stand, one after the other, each below its number."""
    file = folder / STACKS
    for pid in pids if file.exists() else ():
        with contextlib.suppress(OSError):  # a full disk, or one that has just gone
            state = state_of(pid)
            write_head(file, pid=pid, state=state)
            if state not in "TtZ":
                os.kill(pid, ASK)
                settle(file)


def note_stopped(folder: Path, pids: Collection[int]) -> None:
    """Write down which of other processes of a job, such as servers, were stopped; they have not offered to answer."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if (state := state_of(pid)) in "Tt":
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
                write_head(folder / STACKS, pid=pid, state=state,
                           what=dict(itertools.pairwise(words)).get("-m", words[0]))


def write_head(file: Path, **about: Any) -> None:
    """Begin what a process has to tell."""
    with file.open("a") as stream:
        stream.write(f"{HEAD}{json.dumps(about)}\n")


def settle(file: Path) -> None:
    """Wait until a file has grown and grows no more."""
    begin = size = file.stat().st_size
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        before, size = size, file.stat().st_size
        if begin < before == size:
            return


def state_of(pid: int) -> str:
    """Return the letter by which Linux tells what a process does: T if it was stopped; "?" where nobody tells."""
    found = entry(pid)
    return found.state if found else "?"


def remove_empty(folder: Path) -> None:
    """Remove the file of a job in which nobody was asked."""
    file = folder / STACKS
    with contextlib.suppress(OSError):
        if not file.stat().st_size:
            file.unlink()


@dataclass(frozen=True)
class Stand:
    """Where one worker stood, in words; ``waits`` if it only waited for others, as far as one can tell from that."""

    pid: int
    where: str
    waits: bool = False


def read(folder: Path) -> list[Stand]:
    """Return where the workers stood that were asked; none where nobody was."""
    file = folder / STACKS
    text = file.read_text(errors="replace") if file.exists() else ""
    parts = [part.partition("\n") for part in text.split(HEAD)[1:]]
    found: list[Stand] = []
    for head, _, dump in parts:
        with contextlib.suppress(ValueError):  # cut short on a full disk
            found.append(stand(json.loads(head), dump))
    return found


def stand(head: Mapping[str, str], dump: str) -> Stand:
    pid, frames = int(head["pid"]), main_thread(dump)
    if head["state"] in "Tt":
        what = f" ({head['what']})" if "what" in head else ""
        return Stand(pid, f"{what}, stopped by a signal (SIGSTOP, or a debugger)")
    if not frames:
        return Stand(pid, " in native code, or Python's own" if dump.strip() else ", which did not say where")
    own = next((frame for frame in frames if not LIBRARY.search(frame.file)), frames[0])
    within = own is not frames[0]  # a framework's call, mostly an all-reduce
    return Stand(pid, f" in {own._replace(file=Path(own.file).name)}", waits=within or own.function in MEETING)
