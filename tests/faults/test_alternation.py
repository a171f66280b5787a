"""Jobs of a round side by side: their windows alternate, and whatever becomes of one, the others go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import SLOW, Command, eventually

Start = Callable[..., Command]
TWO = ("--framework", "slow,several", "--rounds", "2", "--windows", "4", "--steps", "2", "--verify", "off")


def folder_of(command: Command, framework: str, number: int) -> Path | None:
    return next(iter(command.runs[-1].glob(f"{framework}-*.r{number}")), None) if command.runs else None


def events(command: Command, framework: str, number: int, phase: str) -> list[dict[str, Any]]:
    folder = folder_of(command, framework, number)
    text = (folder / "events.jsonl").read_text() if folder and (folder / "events.jsonl").exists() else ""
    return [event for event in map(json.loads, text.split("\n")[:-1]) if event["phase"] == phase]


def records(command: Command) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what was kept, by framework and round."""
    return {(one["framework"], one["round"]): one
            for one in json.loads((command.runs[-1] / "records.json").read_text())}


def until_windows(command: Command, framework: str, count: int = 1) -> None:
    assert eventually(lambda: len(events(command, framework, 0, "window")) >= count, within=60), command.told


def test_windows_alternate_and_whoever_waits_is_idle(start_slow: Start) -> None:
    command = start_slow(*TWO, "--workers", "2", "--framework", "several,several:seed=1")
    assert command.wait(90) == 0, command.told
    for number in range(2):
        one, two = (record for record in json.loads((command.runs[-1] / "records.json").read_text())
                    if record["round"] == number)
        assert one["turns"] and one["turns"] == two["turns"]
        ran = sorted((window["started"], side) for side, record in enumerate((one, two))
                     for window in record["windows"])
        order = [side for _, side in ran]
        assert order in ([0, 1, 1, 0, 0, 1, 1, 0], [1, 0, 0, 1, 1, 0, 0, 1])
        assert max(window["waiting_cores"] for record in (one, two) for window in record["windows"]) < 0.5
    assert "dlcompare: rounds 2 of 2 done" in command.told
    assert command.nothing_left()


def strike(start_slow: Start, number: signal.Signals) -> tuple[Command, dict[tuple[str, int], dict[str, Any]]]:
    """Send a signal to a worker while windows alternate; return the command when it has ended, and what it kept."""
    command = start_slow(*TWO, "--windows", "12", "--timeout", "10", SLOW_STEP="0.2")
    assert eventually(lambda: len(command.runs) == 1, within=20)
    until_windows(command, "several")
    (begun,) = events(command, "several", 0, "start")
    os.kill(begun["pid"], number)
    command.wait(120)
    found = records(command)
    assert [len(found["slow", number]["windows"]) for number in (0, 1)] == [12, 12] and command.nothing_left()
    return command, found


@pytest.mark.slow
def test_a_job_that_stands_still_does_not_hold_the_others_up(start_slow: Start) -> None:
    """It is given up after 10 s of silence, and the other, which waits as long, is not."""
    _, found = strike(start_slow, signal.SIGSTOP)
    assert found["several", 0]["status"] == "failed" and found["several", 1]["status"] == "ok"
    assert "no sign of life for 10 s" in found["several", 0]["reason"]


@pytest.mark.slow
def test_a_job_that_dies_without_a_word_may_have_lacked_memory_and_is_tried_again_by_itself(start_slow: Start) -> None:
    command, found = strike(start_slow, signal.SIGKILL)
    assert found["several", 0]["status"] == "ok" and found["several", 0]["turns"] is None
    assert "apart" in {one["kind"] for one in found["several", 0]["warnings"]}
    assert len(list(command.runs[-1].glob("several-*.r0*"))) == 2, "the first try was set aside"


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_and_resume_finishes_the_round(start_slow: Start) -> None:
    command = start_slow(*TWO, SLOW_STEP="0.2")
    until_windows(command, "slow")
    command.process.send_signal(signal.SIGINT)
    command.wait(30)
    assert command.nothing_left()
    again = start_slow(*TWO, "--resume", SLOW_STEP="0.2")
    assert again.wait(90) == 0, again.told
    found = records(again)
    assert len(again.runs) == 1 and {one["status"] for one in found.values()} == {"ok"} and len(found) == 4
    assert found["slow", 0]["turns"] == found["several", 0]["turns"]


def test_a_killed_program_takes_along_what_waits_for_its_turn(start_slow: Start) -> None:
    command = start_slow(*TWO, SLOW_STEP="0.2")
    until_windows(command, "several")
    command.process.kill()
    assert command.nothing_left(within=15)


@pytest.mark.slow
def test_what_does_not_wait_idle_runs_by_itself_and_says_so(start_slow: Start) -> None:
    command = start_slow("--framework", "restless,several", *TWO[2:], "--steps", "10", SLOW_STEP="0.1",
                         DLCOMPARE_PLUGINS=",".join([*SLOW, "restless"]))
    assert command.wait(120) == 0, command.told
    found = records(command)
    assert {one["turns"] for (name, number), one in found.items() if name == "restless" or number == 1} == {None}
    for number in range(2):  # in the first it was found out
        (caveat,) = [one for one in found["restless", number]["warnings"] if one["kind"] == "apart"]
        assert "cores while it waited" in caveat["values"]["reason"]


@pytest.mark.slow
def test_a_job_in_which_memory_runs_out_beside_others_is_tried_again_by_itself(start_slow: Start) -> None:
    command = start_slow("--framework", "crashing,slow", *TWO[2:])
    assert command.wait(90) == 1
    found = records(command)
    assert [found["slow", number]["status"] for number in (0, 1)] == ["ok", "ok"]
    assert found["crashing", 0]["warnings"][0]["values"] == {
        "reason": "memory ran out in it while others waited beside it"}
    assert len(list(command.runs[-1].glob("crashing-*.r0*"))) == 2, "the first try was set aside"


@pytest.mark.slow
def test_real_frameworks_wait_idle_for_their_turn(train: Start) -> None:
    command = train("--framework", "pytorch-ddp,jax", "--rounds", "2", "--windows", "3", "--steps", "20")
    assert command.wait(300) == 0, command.told
    found = records(command)
    assert len({one["turns"] for one in found.values()}) == 2 and None not in {one["turns"] for one in found.values()}
    assert command.nothing_left()
