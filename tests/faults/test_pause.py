"""A pause of everything, as of a suspended laptop or a frozen container, disturbs a window and ends no job."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from running import Command

Start = Callable[..., Command]
PAUSE = 4.5  # seconds; a worker looks for its parent every second


def pause(command: Command) -> None:
    """Stop every process that a command has started, itself included, for a while."""
    pids = command.left()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, number)
        time.sleep(PAUSE * (number == signal.SIGSTOP))


def disturbed_once(command: Command, framework: str, *, within: float) -> dict[str, Any]:
    """Return the record of a job that ended well although it was paused: one window says so."""
    assert command.wait(within) == 0, command.told
    record = command.records()[framework]
    (paused,) = [window for window in record["windows"] if window["paused"]]
    assert PAUSE - 1 < paused["paused"] < PAUSE + 3
    assert paused["discarded"]["kind"] == "paused"
    return record


@pytest.mark.slow
def test_a_pause_disturbs_one_window_and_uses_up_no_patience(start_slow: Start) -> None:
    command = start_slow("--framework", "several", "--workers", "2", "--windows", "12", "--timeout", "4")
    command.until("several", "window")
    pause(command)
    record = disturbed_once(command, "several", within=30)
    assert (record["warnings"][0] if record["disturbed"] else record["discarded"][-1])["values"]["paused"] > PAUSE - 1
    assert record["throughput"]["low"] > 2 * 2 * 2 / PAUSE, "that window is in no statistic"


@pytest.mark.slow
def test_a_pause_under_every_framework(train: Start, framework: str) -> None:
    command = train("--framework", framework, "--steps", "500", "--windows", "5")  # no pause falls between two
    command.until(framework, "window", within=120)
    pause(command)
    disturbed_once(command, framework, within=120)
