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
SLOW = ("slow", "masks")  # the latter so that its workers find it


def offering(*plugins: str) -> dict[str, str]:
    """Return the variables that make a command load plugins of the tests."""
    path = os.pathsep.join([str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "DLCOMPARE_PLUGINS": ",".join(plugins)}


class Command:
    """``dlcompare WORDS --out OUT --format json``, started in a folder; ``prefix`` is a program that runs it."""

    def __init__(self, *words: str, out: Path, folder: Path, variables: dict[str, str],
                 prefix: tuple[str, ...] = ()) -> None:
        self.out, self.trace = out, uuid.uuid4().hex
        self._printed, self._told = folder / f"{self.trace}.out", folder / f"{self.trace}.err"
        argv = [*prefix, sys.executable, "-m", "dlcompare.core", *words, "--out", str(out), "--format", "json"]
        with self._printed.open("wb") as printed, self._told.open("wb") as told:
            self.process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=printed, stderr=told,
                                            env={**os.environ, **variables, TRACE: self.trace}, start_new_session=True)

    @property
    def told(self) -> str:
        """Return what was said on stderr so far."""
        return self._told.read_text()

    @property
    def printed(self) -> str:
        """Return what was printed so far."""
        return self._printed.read_text()

    @property
    def runs(self) -> list[Path]:
        """Return the run folders, oldest first."""
        return sorted(file.parent for file in self.out.glob("2*/plan.json"))

    def wait(self, within: float = 60) -> int:
        """Return the exit code."""
        return self.process.wait(within)

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records that were printed, by framework."""
        return by_framework(json.loads(self.printed))

    def kept(self) -> dict[str, dict[str, Any]]:
        """Return the records that the newest run has written down, by framework."""
        return by_framework(json.loads((self.runs[-1] / "records.json").read_text()))

    def job(self, framework: str) -> Path | None:
        """Return the folder of a job in the newest run, once it is there."""
        return next((f.parent for f in self.out.glob(f"*/{framework}-*/job.json") if "." not in f.parent.name), None)

    def events(self, framework: str, phase: str) -> list[dict[str, Any]]:
        """Return what a job's workers have reported of one phase so far."""
        folder = self.job(framework)
        text = (folder / "events.jsonl").read_text() if folder and (folder / "events.jsonl").exists() else ""
        return [e for e in map(json.loads, text.split("\n")[:-1]) if e["phase"] == phase]

    def until(self, framework: str, phase: str, *, count: int = 1, within: float = 60) -> list[dict[str, Any]]:
        """Wait until a job's workers have reported a phase so often; return those events."""
        eventually(lambda: len(self.events(framework, phase)) >= count or self.process.poll() is not None,
                   within=within)
        found = self.events(framework, phase)
        assert len(found) >= count, f"{phase!r} has not come (exit code {self.process.poll()}): {self.told}"
        return found

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


def by_framework(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["framework"]: record for record in records}


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
