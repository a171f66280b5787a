"""Start the worker processes of one job, watch them, and stop every one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from dlcompare.core.files import cannot_write
from dlcompare.core.machine import memory
from dlcompare.core.machine.inherited import for_workers
from dlcompare.core.machine.limits import too_few_files
from dlcompare.core.machine.ports import meeting_trouble
from dlcompare.core.machine.process_tree import adopt_orphans, processes, reap, side_by_side, strays
from dlcompare.core.meters.standstill import Patience
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.plugins.runtime import Runtime
from dlcompare.core.scratch import scratch
from dlcompare.core.variables import EVENTS, JOB, JOB_MARK, LOG, MEMORY, PARENT, PLUGINS, RANK_IN

from . import failure, stacks
from .sampling import kept_off
from .silence import Silence
from .turns import Baton

WORKER = "dlcompare.core.worker"  # the module whose processes carry a job
POLL_SECONDS = 0.25
GRACE_SECONDS = 3.0

T = TypeVar("T")
Steps = Generator[None, None, T]  # yields whenever it could do nothing but wait a while, and returns what it came to
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Ended:
    """How the processes of a job ended: exit code of the launcher, and the reason if it was a failure."""

    code: int
    reason: str | None


def launch(runtime: Runtime, job: BaseJob, folder: Path, *, python: str, path: Path, stall_seconds: float,
           on_event: OnEvent, worker: str = WORKER) -> Ended:
    """Run a job to its end in an existing folder; see :func:`launching`."""
    return drive(launching(runtime, job, folder, python=python, path=path, stall_seconds=stall_seconds,
                           on_event=on_event, worker=worker))


def drive(steps: Steps[T]) -> T:
    """Go through steps at the usual pace and return what comes of them."""
    with contextlib.closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                found: T = ended.value
                return found
            time.sleep(POLL_SECONDS)


def launching(runtime: Runtime, job: BaseJob, folder: Path, *, python: str, path: Path, stall_seconds: float,
              on_event: OnEvent, worker: str = WORKER, baton: Baton | None = None,
              spare: int | None = None) -> Steps[Ended]:
    """Run a job to its end in an existing folder and leave no process behind, also on an exception and on ``close``.

    ``path`` is the import path of the workers; ``stall_seconds`` is how long the job may report nothing, at most: see
    ``silence``. With a ``baton`` its workers take turns with others', and are not silent while they wait for theirs. A
    ``spare`` core is left to others.

    Raises:
        JobError: the log cannot be written.
    """
    if runtime.meets(job) and (trouble := meeting_trouble(job.port)):  # again: since the plan was made
        return Ended(1, trouble)
    if trouble := too_few_files():
        return Ended(1, trouble)
    mark = uuid.uuid4().hex
    argv = [*runtime.command(job, python), "-m", worker, JOB, "."]
    stacks.invite(folder)
    with open_log(folder / LOG, argv) as log, adopt_orphans() as known, scratch("dlcompare-job-") as temporary:
        environment = {**worker_environment(runtime, job, path=path, mark=mark), "TMPDIR": str(temporary)}
        if baton is not None:
            environment |= baton.open(temporary, mark)
        try:
            with kept_off(spare):
                process = subprocess.Popen(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            return Ended(127, f"{argv[0]} cannot be started: {error.strerror}")
        try:
            silent = yield from watch(process, folder, stall_seconds=stall_seconds, on_event=on_event, baton=baton)
            reason = None if silent is None else give_up(folder, mark, silent, longest=stall_seconds)
        finally:
            with defer_interrupts():
                code = stop(process, mark, known)
            if baton is not None:
                baton.close()
            stacks.remove_empty(folder)
    return Ended(code, reason or verdict(code, folder, launcher=process.pid))


def open_log(file: Path, argv: list[str]) -> IO[bytes]:
    """Return the job's log, begun with the command; JobError if it cannot be written."""
    try:
        with file.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n")
        return file.open("ab")
    except OSError as error:
        raise cannot_write(file, error) from error


def give_up(folder: Path, mark: str, seconds: float, *, longest: float) -> str:
    """Return why a job that has been silent for too long is given up: asked of its workers while they are there."""
    marked, workers = set(find_marked(mark)), {event["pid"] for event in failure.read_events(folder)}
    stacks.ask(folder, sorted(marked & workers))
    stacks.note_stopped(folder, sorted(marked - workers))
    return failure.explain_stall(folder, seconds, longest)


def verdict(code: int, folder: Path, *, launcher: int) -> str | None:
    """Return why a job that has ended by itself ended badly; None if it did not."""
    well = code == 0 and not failure.last_words(folder)
    return None if well else failure.why(folder, code, launcher)


def worker_environment(runtime: Runtime, job: BaseJob, *, path: Path, mark: str) -> dict[str, str]:
    """Return the variables that a worker starts with: the user's that do it no harm, the backend's and ours."""
    own = {
        "PYTHONPATH": str(path), "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", JOB_MARK: mark,
        PARENT: str(os.getpid()), PLUGINS: ",".join(plugins().external()), RANK_IN: runtime.rank_variable,
    }
    if job.device == "cpu":
        own["CUDA_VISIBLE_DEVICES"] = ""
        own[MEMORY] = memory.share(runtime.processes(job))
    return {**for_workers(), **runtime.variables(job), **own}


def watch(process: subprocess.Popen[bytes], folder: Path, *, stall_seconds: float, on_event: OnEvent,
          baton: Baton | None = None) -> Steps[float | None]:
    """Pass events on until the process ends; return after how many seconds of silence it was given up, or None."""
    clock, stamp = Patience(), None
    silence = Silence(stall_seconds, clock())
    with contextlib.closing(news(folder / EVENTS)) as events:
        while True:
            running = process.poll() is None  # asked before reading, so that the last events are passed on as well
            for event in next(events):
                silence.hear(event, clock())
                on_event(event)
            if (seen := written(folder / EVENTS)) != stamp:
                stamp, silence.last = seen, clock()
            if baton is not None and baton.waits():
                silence.last = clock()
            if not running:
                return None
            if (seconds := silence.too_long(clock())) is not None:
                return seconds
            yield


def written(file: Path) -> float | None:
    """Return when a file was written to, or tried to be on a full disk; None if there is none."""
    return file.stat().st_mtime if file.exists() else None


def news(file: Path) -> Generator[list[dict[str, Any]], None, None]:
    """Yield, whenever asked, the events that have come since; a line that is not whole yet waits for its end."""
    while not file.exists():
        yield []
    rest = ""
    with file.open(errors="replace") as stream:
        while True:
            *lines, rest = (rest + stream.read()).split("\n")
            yield list(failure.parse_events(lines))


@contextlib.contextmanager
def defer_interrupts() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off until the end of the block, which must be short."""
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()  # no other one can set handlers, nor is interrupted
    before = {number: signal.signal(number, lambda got, _: came.append(got))
              for number in ((signal.SIGINT, signal.SIGTERM) if main else ())}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def stop(process: subprocess.Popen[bytes], mark: str, known: set[int] | None = None) -> int:
    """End the launcher and every process of the job, politely, then not; return the exit code.

    Of the job is what carries its mark, and what has become a child of ours since we had the ``known`` ones alone; of
    jobs that run side by side, the last one answers for the latter.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        while (found := find_job(process, mark, known)) and time.monotonic() < deadline:
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, how)
            time.sleep(0.1)
            process.poll()  # reaps it
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(GRACE_SECONDS)
    return -signal.SIGKILL  # the kernel holds it: nothing more can be done


def find_job(process: subprocess.Popen[bytes], mark: str, known: set[int] | None) -> set[int]:
    """Return the pids of the living processes of a job, also of those that have dropped its mark; reap the others."""
    if known is None or side_by_side():
        return set(find_marked(mark))
    table = processes()
    left = strays(table, known) - {process.pid}
    reap(table, left)
    return {*find_marked(mark), *(pid for pid in left if table[pid].state != "Z")}


def find_marked(mark: str) -> list[int]:
    """Return the pids of living processes whose environment carries the mark."""
    import psutil

    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(psutil.Error, OSError):
            alive = process.info["status"] != psutil.STATUS_ZOMBIE
            if alive and process.pid != os.getpid() and process.environ().get(JOB_MARK) == mark:
                found.append(process.pid)
    return found
