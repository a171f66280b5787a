"""Start several processes that belong together, and end them together: for frameworks that bring no launcher.

A backend's own launcher, a few lines in its folder, says which members there are; rank and port reach them as
environment variables.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlcompare.core.variables import PARENT

from .failure import killed
from .lifeline import is_alive, leave_word

POLL_SECONDS = 0.05
GRACE_SECONDS = 3.0


@dataclass(frozen=True, eq=False)  # two alike are two processes
class Member:
    """One process: ``role`` is its name in messages; a ``helper`` (a server) is ended when all others are done."""

    role: str
    argv: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    helper: bool = False


def run(members: Sequence[Member]) -> int:
    """Run all members to the end of those that are no helpers; return 0, or the exit code of the first that failed.

    As soon as one fails (a helper that ends before the rest has failed too), or on SIGTERM, or when the program that
    started the job has gone, all are ended.
    """
    told: list[int] = []  # an exception instead could come between a start and its being known, or under a lock
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    processes: dict[Member, subprocess.Popen[bytes]] = {}
    try:
        for member in members:
            processes[member] = subprocess.Popen(member.argv, env={**os.environ, **member.variables})
        return watch(processes, told)
    finally:
        end(list(processes.values()))


def watch(processes: Mapping[Member, subprocess.Popen[bytes]], told: Sequence[int]) -> int:
    """Wait until there is nothing to wait for any more, or a signal was ``told``, and return the exit code."""
    parent = int(os.environ.get(PARENT, "0"))
    while True:
        if told:
            return 128 + told[0]
        codes = {member: process.poll() for member, process in processes.items()}
        if all(code == 0 for member, code in codes.items() if not member.helper):
            return 0
        failed = [(member, code) for member, code in codes.items() if code or (code == 0 and member.helper)]
        if failed:
            return tell(*min(failed, key=lambda one: one[1] >= 0))  # the first that was killed: others miss it
        if parent and not is_alive(parent):
            return 3
        time.sleep(POLL_SECONDS)


def tell(member: Member, code: int) -> int:
    """Say how a member ended, of a helper that was killed in the job's folder too; return the exit code of all."""
    if code >= 0:
        print(f"the {member.role} ended with exit code {code}; the others are stopped", file=sys.stderr)
        return code or 1
    said = killed(f"the {member.role}", -code)
    print(f"{said}; the others are stopped", file=sys.stderr)
    if member.helper:  # of a worker more is known: what it has reported
        leave_word(Path(), f"{said}; no worker can go on without it. Repeat the command with --resume", kind="known")
    return 128 - code


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
