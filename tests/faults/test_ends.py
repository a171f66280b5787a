"""What plug-ins leave behind: a job ends in bounded time all the same, and takes with it whatever it started."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from faulty import LONG
from running import SLOW, Command, eventually

from dlcompare.core.launch.lifeline import is_alive

Start = Callable[..., Command]


PLUGINS = ",".join([*SLOW, "clinging"])


def check_pacing(command: Command, framework: str) -> None:
    assert command.wait(60) == 0
    record: dict[str, Any] = command.records()[framework]
    assert record["status"] == "ok" and len(record["windows"]) == 2
    assert "a plug-in's thread keeps this process (pacemaker)" in (command.runs[-1] / record["log"]).read_text()
    assert command.nothing_left()


@pytest.mark.slow
def test_a_thread_that_does_not_end_keeps_no_worker(start_slow: Start) -> None:
    check_pacing(start_slow("--framework", "several", "--workers", "2", "--model", "pacing",
                            DLCOMPARE_PLUGINS=PLUGINS), "several")


def test_a_worker_that_never_leaves_costs_no_measurement(start_slow: Start) -> None:
    command = start_slow("--framework", "several", "--workers", "2", "--model", "parting", "--timeout", "3",
                         DLCOMPARE_PLUGINS=PLUGINS)
    assert command.wait(40) == 0
    record: dict[str, Any] = command.records()["several"]
    assert record["status"] == "ok" and len(record["windows"]) == 2
    (caveat,) = [one for one in record["warnings"] if one["kind"] == "ended badly"]
    assert "no sign of life for 3 s (the last was 'done'" in caveat["values"]["reason"]
    assert "ranks 0, 1 stand in native code, or Python's own, phase 'done'" in caveat["values"]["reason"]
    assert "Their work was done" in caveat["values"]["reason"] and "--timeout" not in caveat["values"]["reason"]
    assert command.nothing_left()


def demons(command: Command) -> list[int]:
    """Return the numbers of what the workers have left behind, which does not carry the tests' trace either."""
    folder = command.job("littering")
    assert folder
    return [int(file.read_text()) for file in folder.glob("demon-*")]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(None, 0), (signal.SIGKILL, -9)])
def test_a_child_that_knows_of_no_job_ends_with_it(number: signal.Signals | None, code: int, start_slow: Start) -> None:
    words = () if number is None else LONG
    command = start_slow("--framework", "littering", "--workers", "2", *words, DLCOMPARE_PLUGINS=PLUGINS)
    if number is not None:
        command.until("littering", "window")
        assert len(demons(command)) == 2 and all(map(is_alive, demons(command)))
        command.process.send_signal(number)
    assert command.wait(40) == code
    left = demons(command)
    gone = eventually(lambda: not any(map(is_alive, left)), within=5 if number == signal.SIGKILL else 0.5)
    for pid in () if gone else left:
        os.kill(pid, signal.SIGKILL)  # nobody else finds it
    assert gone and len(left) == 2 and command.nothing_left()


@pytest.mark.slow
def test_frameworks_part_well_though_a_thread_keeps_one_worker(train: Start, framework: str) -> None:
    check_pacing(train("--framework", framework, "--model", "pacing", "--windows", "2", DLCOMPARE_PLUGINS=PLUGINS),
                 framework)
