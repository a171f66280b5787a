"""Sixty-four workers on one machine start, finish, and stop when they are told to, within bounds."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from faulty import LONG
from running import Command

Start = Callable[..., Command]
MANY = ("--workers", "64", "--threads", "1")
pytestmark = pytest.mark.slow


def test_they_finish(start_slow: Start) -> None:
    begin = time.monotonic()
    command = start_slow("--framework", "several", *MANY)
    assert command.wait(150) == 0
    assert time.monotonic() - begin < 120
    assert len(command.records()["several"]["windows"][0]["seconds"]) == 64
    assert command.left() == []


@pytest.mark.parametrize("phase", ["start", "window"])
def test_they_stop_at_ctrl_c(start_slow: Start, phase: str) -> None:
    command = start_slow("--framework", "several", *MANY, *LONG)
    command.until("several", phase, within=120)
    begin = time.monotonic()
    command.process.send_signal(signal.SIGINT)
    assert command.wait(40) == 130
    assert time.monotonic() - begin < 25
    assert command.left() == [] and "Traceback" not in command.told
