"""What ties a worker process to the program that started it: events, the reason of a failure, a common end."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import DlcompareError, JobError
from dlcompare.core.files import write
from dlcompare.core.machine.memory import limit_memory, nearly_full
from dlcompare.core.machine.process_tree import adopting, descendants, entry, processes
from dlcompare.core.meters import standstill
from dlcompare.core.variables import EVENTS, PARENT, RANK_IN

from . import stacks

CHECK_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # for threads to end when the work is done


class Events:
    """Appends one JSON line per event; the parent reads them to show progress and to notice a stall."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, phase: str, **details: Any) -> None:
        line = json.dumps({"time": time.time(), "pid": os.getpid(), "phase": phase, **details}) + "\n"
        try:
            with self.path.open("a") as file:  # O_APPEND: lines of several ranks do not mix
                file.write(line)
        except OSError:  # a full disk, which costs no measurement; the file's time is a sign of life as well
            with contextlib.suppress(OSError):
                os.utime(self.path)


def leave_when_told(folder: Path) -> None:
    """End this process on SIGTERM, and when the program that started the job has gone, whatever it is doing then.

    A thread waits for both: a signal handler would wait for the main thread, and that may be in an all-reduce.
    """
    parent = int(os.environ.get(PARENT, "0"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def watch() -> None:
        while not told_to_stop():
            if parent and not is_alive(parent):
                take_along()
                os._exit(3)
        leave_word(folder, "it was told to stop", kind="stopped")
        os._exit(143)

    if parent and not is_alive(parent):
        os._exit(3)
    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def told_to_stop() -> bool:
    """Wait a while for SIGTERM and return whether it came; a stop of this process cuts that short with no number."""
    with standstill.OWN.nap(CHECK_SECONDS):
        came = signal.sigtimedwait({signal.SIGTERM}, CHECK_SECONDS)
    return came is not None and came.si_signo == signal.SIGTERM


def take_along() -> None:
    """Kill whatever this process has started: nobody else will, and a plug-in's child may know of no parent."""
    for pid in descendants(processes(), os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this user with this number; one that only waits to be reaped is none."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    found = entry(pid)
    return found is None or found.state not in "ZX"


def carry(argv: Sequence[str], task: Callable[[str, Path, Events], None]) -> None:
    """Do what a worker is started for: the task on the text of ``job.json`` in the folder, both named by ``argv``.

    The process ends with the program that started it, and leaves the reason of a failure in the folder.
    """
    job_file, folder = Path(argv[1]), Path(argv[2])
    adopting(True)  # so that what it has started is known as such, however it was started
    leave_when_told(folder)
    stacks.offer(folder)
    with reason_left(folder):
        events = Events(folder / EVENTS)
        rank = os.environ.get(os.environ.get(RANK_IN, ""), "")
        events("start", **({"rank": int(rank)} if rank.isdigit() else {}))
        limit_memory()
        task(job_file.read_text(), folder, events)
        events("done")
    threading.Thread(target=leave_threads, name="leave", daemon=True).start()


def leave_threads() -> None:
    """End this process, whose work is done, though threads of others keep it: named, after the frameworks' farewells.

    Python waits for every thread that is no daemon before it runs those, with no bound.
    """
    time.sleep(LEAVE_SECONDS)
    main = threading.main_thread()
    if found := [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]:
        with contextlib.suppress(OSError):
            print(f"the work is done, but a plug-in's thread keeps this process ({', '.join(found)}); it is ended. "
                  "Make the thread a daemon, or end it in the trainer's close()", file=sys.stderr, flush=True)
        atexit._run_exitfuncs()
        os._exit(0)


@contextlib.contextmanager
def reason_left(folder: Path) -> Iterator[None]:
    """Leave the reason of a failure where the parent finds it, and end the process with exit code 1."""
    try:
        yield
    except BaseException as error:
        kind, told = "raised", f"{type(error).__name__}: {error}"
        if isinstance(error, DlcompareError):
            kind, told = "known", str(error)
        with contextlib.suppress(OSError):  # a log on a full disk
            traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
        leave_word(folder, told, kind=kind, memory=nearly_full())
        os._exit(1)  # at once: a peer may wait in an all-reduce that a tidy exit would wait for as well


def leave_word(folder: Path, message: str, *, kind: str, memory: str | None = None) -> None:
    """Write down why this process ends, for ``failure`` to read.

    ``kind``: ``known`` (a reason we give), ``raised`` (an exception), ``stopped``; ``memory``: what it held if much.
    """
    words = {"time": time.time(), "kind": kind, "message": message, "memory": memory}
    with contextlib.suppress(JobError):  # a full disk: the parent then says so
        write(folder / f"error-{os.getpid()}.json", json.dumps(words))
