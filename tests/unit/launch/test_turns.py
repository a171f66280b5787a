"""The baton: a job has its turn when all its ranks have asked, waits without using a processor, and is not silent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlcompare.core.launch.start import drive, stop, watch
from dlcompare.core.launch.turns import Baton, Turn, may_return, standing_back
from dlcompare.core.machine import process_tree
from dlcompare.core.variables import TURNS

WORKER = """
import sys, threading, time
from dlcompare.core.launch.turns import Turn
turn = Turn(int(sys.argv[1]))
for left in (2, 1):
    turn.wait(left)
    with open("had", "a") as file:
        file.write(f"{sys.argv[1]}{left} ")
"""


@pytest.fixture
def baton(tmp_path: Path) -> Baton:
    found = Baton(2)
    found.open(tmp_path, "mark")
    return found


def worker(folder: Path, rank: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(rank)], cwd=folder, start_new_session=True,
                            env={**os.environ, TURNS: str(folder)})


def within(seconds: float, baton: Baton) -> bool:
    """Return whether all ranks wait for their turn within so many seconds."""
    deadline = time.monotonic() + seconds
    while not baton.waits() and time.monotonic() < deadline:
        time.sleep(0.01)
    return baton.waits()


def test_a_turn_comes_when_all_ranks_have_asked_and_one_at_a_time(tmp_path: Path, baton: Baton) -> None:
    first = worker(tmp_path, 0)
    assert not within(0.5, baton), "rank 1 has not asked"
    second = worker(tmp_path, 1)
    assert within(20, baton) and baton.left == 2
    assert not (tmp_path / "had").exists()
    baton.give()
    assert within(20, baton) and baton.left == 1
    assert sorted((tmp_path / "had").read_text().split()) == ["02", "12"]
    baton.give()
    assert [process.wait(20) for process in (first, second)] == [0, 0]
    baton.close()
    assert baton.files() == [] and not baton.waits()


def test_a_worker_that_was_started_alone_waits_for_nobody() -> None:
    turn = Turn(0, {})
    turn.wait(3)
    assert not turn.shared


def test_whoever_waits_takes_no_core_that_others_want_and_works_as_before_afterwards() -> None:
    with standing_back():
        assert os.sched_getscheduler(0) == (os.SCHED_IDLE if may_return() else os.SCHED_OTHER)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_an_ordinary_user_is_not_left_in_the_lowest_scheduling_class() -> None:
    code = ("import os, resource; from dlcompare.core.launch.turns import standing_back\n"
            "resource.setrlimit(resource.RLIMIT_NICE, (0, 0)); os.getuid() or os.setuid(65534)\n"
            "with standing_back(): pass\n"
            "assert os.sched_getscheduler(0) == os.SCHED_OTHER, 'whatever follows is measured in the lowest class'")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_waiting_is_no_silence_and_a_turn_without_a_sign_of_life_is(tmp_path: Path) -> None:
    baton = Baton(1)
    baton.open(tmp_path, "mark")
    stuck = "from dlcompare.core.launch.turns import Turn; import time; Turn(0).wait(1); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", stuck], start_new_session=True,
                               env={**os.environ, TURNS: str(tmp_path)})
    assert within(20, baton)
    steps = watch(process, tmp_path, stall_seconds=1, on_event=lambda event: None, baton=baton)
    begin = time.monotonic()
    while time.monotonic() < begin + 2.5:
        next(steps)  # would have ended, were waiting silence
        time.sleep(0.05)
    baton.give()
    assert drive(steps) == 1
    stop(process, "none")


def test_of_jobs_side_by_side_only_the_last_answers_for_what_has_lost_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree.Alone, "claimed", True)
    first, second = process_tree.adopt_orphans(), process_tree.adopt_orphans()
    assert not process_tree.side_by_side()
    known = first.__enter__()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert second.__enter__() == known, "what was before is what was before the first"
        assert process_tree.side_by_side()
        first.__exit__(None, None, None)
        assert not process_tree.side_by_side()
        assert stranger.pid in process_tree.strays(process_tree.processes(), set(known or ()))
        second.__exit__(None, None, None)
    finally:
        stranger.kill()
        stranger.wait()
