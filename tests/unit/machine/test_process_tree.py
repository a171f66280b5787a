"""Who started whom, and processes whose parents have gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from running import eventually

from dlcompare.core.launch.lifeline import is_alive
from dlcompare.core.machine.process_tree import (
    Alone,
    Entry,
    adopt_orphans,
    adopting,
    claim,
    descendants,
    processes,
    reap,
    strays,
)

ORPHAN = "import os, time\nif os.fork():\n    os._exit(0)\nos.setsid()\ntime.sleep(600)"


def test_all_generations_are_found() -> None:
    table = {2: Entry(1, 1, "S"), 3: Entry(2, 1, "S"), 4: Entry(3, 4, "Z"), 5: Entry(1, 5, "S")}
    assert descendants(table, 2) == {3, 4} and descendants(table, 1) == {2, 3, 4, 5} and not descendants(table, 5)


def test_own_children_and_those_that_were_there_before_are_no_strays() -> None:
    own, here = os.getpid(), os.getsid(0)
    table = {own: Entry(1, here, "R"), 10: Entry(own, here, "S"), 11: Entry(own, 11, "S"), 12: Entry(own, 12, "S"),
             13: Entry(12, 13, "S"), 14: Entry(1, 14, "S")}
    assert strays(table, known={11}) == {12, 13}


def test_only_a_program_whose_children_are_all_its_own_adopts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alone, "claimed", False)
    with adopt_orphans() as known:
        assert known is None and not adopting(False)
    before = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a shell's, before its exec
    claim()
    assert not Alone.claimed
    before.kill()
    before.wait()
    claim()
    assert Alone.claimed
    monkeypatch.setattr(os, "getpid", lambda: 1)
    claim()
    assert not Alone.claimed


def test_an_orphan_becomes_ours_while_we_adopt_and_can_be_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alone, "claimed", True)
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with adopt_orphans() as known:
            assert known and ours.pid in known
            subprocess.run([sys.executable, "-c", ORPHAN], env={}, check=True)
            assert eventually(lambda: len(strays(processes(), known)) == 1, within=5)
            (orphan,) = strays(processes(), known)
            os.kill(orphan, 9)
            assert eventually(lambda: processes()[orphan].state == "Z", within=5)
            reap(processes(), {orphan})
            assert orphan not in processes()
        assert not adopting(False)
    finally:
        ours.kill()
        ours.wait()


def test_a_process_that_only_waits_to_be_reaped_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.kill()
    assert eventually(lambda: not is_alive(process.pid), within=5)
    process.communicate()
    assert not is_alive(process.pid)
