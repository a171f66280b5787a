"""Start the worker processes of one job, watch them, stop every one of them, and say what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .backend import Backend
from .job import Job
from .plugins import VARIABLE, plugins
from .worker import MEMORY_VARIABLE, PARENT_VARIABLE

MARK = "DLCOMPARE_JOB"  # every process of a job carries it, however many sessions a launcher opens
POLL_SECONDS = 0.25
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """How the processes of a job ended: exit code of the launcher, and the reason if it was a failure."""

    code: int
    reason: str | None


def launch(backend: Backend, job: Job, folder: Path, *, python: str, path: Path, stall_seconds: float,
           on_event: Callable[[dict[str, Any]], None]) -> Ended:
    """Run a job to its end in an existing folder and leave no process behind, also on an exception.

    ``path`` is the import path of the workers; ``stall_seconds`` is how long the job may report nothing.
    """
    mark = uuid.uuid4().hex
    argv = [*backend.command(job, python), "-m", "dlcompare.core.worker", "job.json", "."]
    environment = worker_environment(backend, job, path=path, mark=mark)
    with (folder / "log.txt").open("ab") as log:
        log.write(("$ " + " ".join(argv) + "\n").encode())
        log.flush()
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            stalled = watch(process, folder, stall_seconds=stall_seconds, on_event=on_event)
        finally:
            stop(process, mark)
    if process.returncode == 0 and not stalled and not list(folder.glob("error-*.json")):
        return Ended(0, None)
    return Ended(process.returncode, stalled or why(folder, process.returncode))


def worker_environment(backend: Backend, job: Job, *, path: Path, mark: str) -> dict[str, str]:
    """Return the variables that a worker starts with: the user's, the backend's and ours."""
    import psutil

    own = {
        "PYTHONPATH": str(path), "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", MARK: mark,
        PARENT_VARIABLE: str(os.getpid()), VARIABLE: ",".join(plugins().external()),
    }
    if job.device == "cpu":
        own["CUDA_VISIBLE_DEVICES"] = ""
        own[MEMORY_VARIABLE] = str(int(psutil.virtual_memory().available / job.workers))
    return {**os.environ, **backend.variables(job), **own}


def watch(process: subprocess.Popen[bytes], folder: Path, *, stall_seconds: float,
          on_event: Callable[[dict[str, Any]], None]) -> str | None:
    """Pass events on until the process ends; return a reason if it reported nothing for too long."""
    last = time.monotonic()
    with contextlib.ExitStack() as stack:
        lines: Iterator[str] | None = None
        while process.poll() is None:
            if lines is None and (folder / "events.jsonl").exists():
                lines = iter_lines(stack.enter_context((folder / "events.jsonl").open()))
            for line in lines or ():
                if not line:
                    break
                last = time.monotonic()
                on_event(json.loads(line))
            if time.monotonic() - last > stall_seconds:
                return stall_reason(folder, stall_seconds)
            time.sleep(POLL_SECONDS)
    return None


def iter_lines(file: IO[str]) -> Iterator[str]:
    """Yield whole lines as they come, and "" when there is none at the moment."""
    rest = ""
    while True:
        rest += file.readline()
        if rest.endswith("\n"):
            yield rest
            rest = ""
        else:
            yield ""


def stall_reason(folder: Path, seconds: float) -> str:
    """Return which ranks have joined and what the job did last."""
    events = read_events(folder)
    joined = sorted({e["rank"] for e in events if "rank" in e})
    last = events[-1]["phase"] if events else "nothing: no worker process started"
    return (f"no sign of life for {seconds:.0f} s (last: {last}; ranks that joined: {joined or 'none'}); "
            "all processes were stopped. Give --timeout more seconds if the model is that slow")


def stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the launcher and every process that carries the job's mark: politely, then not."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    for how in (signal.SIGTERM, signal.SIGKILL):
        found = marked(mark)
        for one in found:
            with contextlib.suppress(OSError):
                os.kill(one, how)
        deadline = time.monotonic() + GRACE_SECONDS
        while found and time.monotonic() < deadline and marked(mark):
            time.sleep(0.05)
    process.wait()


def marked(mark: str) -> list[int]:
    """Return the pids of living processes whose environment carries the mark."""
    import psutil

    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(psutil.Error, OSError):
            alive = process.info["status"] != psutil.STATUS_ZOMBIE
            if alive and process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found


def why(folder: Path, code: int) -> str:
    """Return the reason of a failure: the first error a worker left, who was killed, or the log's last line."""
    left = [json.loads(p.read_text()) for p in folder.glob("error-*.json")]
    errors = sorted((e for e in left if not e["stopped"]), key=lambda e: e["time"])
    started = {e["pid"] for e in read_events(folder)}
    spoke = {int(p.stem.partition("-")[2]) for p in folder.glob("error-*.json")}
    spoke |= {e["pid"] for e in read_events(folder) if e["phase"] == "done"}
    silent = sorted(started - spoke)
    if shutil.disk_usage(folder).free < 1 << 16:
        return f"the disk of {folder} is full; free some space and repeat the command with --resume"
    if silent:
        then = f"; another worker then said: {errors[0]['message']}" if errors else ""
        return (f"worker process {', '.join(map(str, silent))} died without a word, as one does that is killed "
                f"(SIGKILL, for instance by the kernel when memory runs out; try a smaller --batch){then}")
    if errors:
        return str(errors[0]["message"])
    return f"the launcher ended with exit code {code}: {last_line(folder / 'log.txt')}"


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return the whole events so far."""
    file = folder / "events.jsonl"
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def port_taken(port: int) -> bool:
    """Return whether something listens on this loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
