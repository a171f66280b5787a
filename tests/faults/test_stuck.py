"""A worker that others wait for without an end: given up in time, and named with its phase and where it stands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from faulty import LONG, failure
from running import SLOW, Command

Start = Callable[..., Command]


def stop_rank_1(command: Command, framework: str) -> str:
    """Stop rank 1 in its windows, and return the reason of the job's failure."""
    command.until(framework, "window", within=120)
    pids = {event["rank"]: event["pid"] for event in command.events(framework, "data")}
    os.kill(pids[1], signal.SIGSTOP)
    reason = failure(command, framework, within=90)
    assert reason.startswith("no sign of life for ") and "(the last was 'window'" in reason
    assert (f": rank 1 (process {pids[1]}) is stuck, stopped by a signal (SIGSTOP, or a debugger), phase 'window'; "
            f"rank 0 (process {pids[0]}) waits in ") in reason
    return reason


def test_a_rank_that_stands_in_a_step_is_named_with_its_place(start_slow: Start) -> None:
    begin = time.monotonic()
    command = start_slow("--framework", "stuck", "--workers", "2", "--timeout", "2", *LONG, SLOW_STEP="0",
                         DLCOMPARE_PLUGINS=",".join([*SLOW, "clinging"]))
    reason = failure(command, "stuck", within=40)
    assert time.monotonic() - begin < 30
    first = command.events("stuck", "data")
    pids = {event["rank"]: event["pid"] for event in first}
    assert f": rank 1 (process {pids[1]}) is stuck in step (clinging.py, line" in reason
    assert f", phase 'window'; rank 0 (process {pids[0]}) waits in gather (slow.py, line" in reason
    folder = command.job("stuck")
    assert folder and f". All threads are in {folder.name}/stacks.txt. Give" in reason
    assert (folder / "stacks.txt").read_text().count("most recent call first") >= 2


@pytest.mark.slow
def test_a_rank_that_was_stopped_is_named_under_every_framework(train: Start, framework: str) -> None:
    stop_rank_1(train("--framework", framework, "--timeout", "15", *LONG), framework)
