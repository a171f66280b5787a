"""Who started whom, and processes whose parents have gone."""

from __future__ import annotations

import os
import subprocess
import sys

from running import eventually

from dlcompare.core.machine.process_tree import Entry, adopt_orphans, adopting, descendants, processes, reap, strays

ORPHAN = "import os, time\nif os.fork():\n    os._exit(0)\nos.setsid()\ntime.sleep(600)"


def test_all_generations_are_found() -> None:
    table = {2: Entry(1, 1, "S"), 3: Entry(2, 1, "S"), 4: Entry(3, 4, "Z"), 5: Entry(1, 5, "S")}
    assert descendants(table, 2) == {3, 4} and descendants(table, 1) == {2, 3, 4, 5} and not descendants(table, 5)


def test_own_children_and_those_that_were_there_before_are_no_strays() -> None:
    own, here = os.getpid(), os.getsid(0)
    table = {own: Entry(1, here, "R"), 10: Entry(own, here, "S"), 11: Entry(own, 11, "S"), 12: Entry(own, 12, "S"),
             13: Entry(12, 13, "S"), 14: Entry(1, 14, "S")}
    assert strays(table, known={11}) == {12, 13}


def test_an_orphan_becomes_ours_while_we_adopt_and_can_be_reaped() -> None:
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with adopt_orphans() as known:
            assert ours.pid in known
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
