"""Start the real command line in a process of its own, watch its jobs, and find every process it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

TRACE = "DLCOMPARE_TEST"  # whatever a command starts inherits it, however many sessions are opened
PLUGINS = Path(__file__).with_name("plugins")


class Command:
    """``dlcompare WORDS --out OUT --format json``, started; ``prefix`` is a program that runs it."""

    def __init__(self, *words: str, out: Path, variables: dict[str, str], prefix: tuple[str, ...] = ()) -> None:
        self.out, self.trace = out, uuid.uuid4().hex
        self.folder = out.parent
        argv = [*prefix, sys.executable, "-m", "dlcompare.core", *words, "--out", str(out), "--format", "json"]
        with (self.folder / f"{self.trace}.out").open("wb") as printed, (self.folder / f"{self.trace}.err").open("wb") as told:
            self.process = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=printed, stderr=told,
                                            env={**os.environ, **variables, TRACE: self.trace}, start_new_session=True)

    @property
    def told(self) -> str:
        """Return what was said on stderr so far."""
        return (self.folder / f"{self.trace}.err").read_text()

    @property
    def printed(self) -> str:
        return (self.folder / f"{self.trace}.out").read_text()

    def wait(self, within: float = 60) -> int:
        """Return the exit code."""
        return self.process.wait(within)

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records that were printed, by framework."""
        return {record["framework"]: record for record in json.loads(self.printed)}

    def jobs(self) -> dict[str, Path]:
        """Return the job folders so far, by framework."""
        return {json.loads(file.read_text())["framework"]: file.parent for file in self.out.glob("*/*/job.json")}

    def events(self, framework: str) -> list[dict[str, Any]]:
        """Return what a job's workers have reported so far."""
        file = self.jobs().get(framework, Path("/nowhere")) / "events.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def until(self, framework: str, phase: str, *, count: int = 1, within: float = 60) -> list[dict[str, Any]]:
        """Wait until workers have reported a phase so often; return those events."""
        def seen() -> list[dict[str, Any]]:
            return [event for event in self.events(framework) if event["phase"] == phase]

        assert eventually(lambda: len(seen()) >= count or self.process.poll() is not None, within=within), self.told
        assert len(seen()) >= count, f"ended with {self.process.returncode} before {phase!r}: {self.told}"
        return seen()

    def left(self) -> list[int]:
        """Return the pids of all living processes that the command has started, itself included."""
        return [process.pid for process in psutil.process_iter(["status"]) if carries(process, self.trace)]

    def nothing_left(self, within: float = 10) -> bool:
        """Return whether every process has ended in time."""
        return eventually(lambda: not self.left(), within=within)

    def end(self) -> None:
        """Kill whatever is still there."""
        self.process.kill()
        self.process.wait()
        while pids := self.left():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def carries(process: psutil.Process, trace: str) -> bool:
    """Return whether a living process has inherited the trace."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.info["status"] != psutil.STATUS_ZOMBIE and process.environ().get(TRACE) == trace
    return False


def eventually(true: Callable[[], bool], *, within: float) -> bool:
    """Wait until something is true; return whether it became so in time."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
