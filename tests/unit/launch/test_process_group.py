"""Processes that belong together: started together, and ended together however one of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import eventually

from dlcompare.core.launch import failure
from dlcompare.core.launch.lifeline import is_alive
from dlcompare.core.machine.ports import free_port
from dlcompare.core.variables import PARENT

CREW = """
import sys
from dlcompare.core.launch.process_group import Member, run
python = [sys.executable, "-c"]
note = "import os, pathlib; pathlib.Path('pids').open('a').write(f'{os.getpid()}\\\\n');"
members = [Member(role, [*python, note + code], {"ROLE": role}, helper=role == "server")
           for role, _, code in (word.partition("=") for word in sys.argv[1:])]
sys.exit(run(members))
"""
SLEEP = "import time; time.sleep(600)"
SOON = "import time; time.sleep(1);"  # when all have written their pids


def crew(folder: Path, *members: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CREW, *members], cwd=folder, env={**os.environ, **variables},
                            stderr=subprocess.PIPE, text=True)


def pids(folder: Path, count: int) -> list[int]:
    file = folder / "pids"
    assert eventually(lambda: file.exists() and len(file.read_text().splitlines()) == count, within=10)
    return [int(line) for line in file.read_text().splitlines()]


def gone(process: subprocess.Popen[str], known: list[int]) -> str:
    _, said = process.communicate(timeout=20)
    assert not [pid for pid in known if is_alive(pid)]
    return said


def test_it_ends_well_when_all_but_the_helpers_have(tmp_path: Path) -> None:
    process = crew(tmp_path, f"server={SLEEP}", "worker a=",
                   "worker b=import os; assert os.environ['ROLE'] == 'worker b'")
    gone(process, pids(tmp_path, 3))
    assert process.returncode == 0


@pytest.mark.parametrize("failing", ["worker b", "server"])
def test_one_that_fails_takes_the_others_along_and_is_named(tmp_path: Path, failing: str) -> None:
    process = crew(tmp_path, f"worker a={SLEEP}", f"{failing}={SOON} raise SystemExit(7)")
    said = gone(process, pids(tmp_path, 2))
    assert process.returncode == 7 and f"the {failing} ended with exit code 7" in said


def test_of_several_that_ended_the_one_that_was_killed_is_named(tmp_path: Path) -> None:
    process = crew(tmp_path, f"worker a={SOON} raise SystemExit(1)", f"worker b={SOON} os.kill(os.getpid(), 9)")
    known = pids(tmp_path, 2)
    process.send_signal(signal.SIGSTOP)  # it looks when both have ended
    time.sleep(2)
    process.send_signal(signal.SIGCONT)
    assert "the worker b was killed by SIGKILL" in gone(process, known)
    assert process.returncode == 137 and not list(tmp_path.glob("error-*"))  # the worker's own events tell more


def test_a_helper_that_was_killed_is_the_reason_that_is_left(tmp_path: Path) -> None:
    process = crew(tmp_path, f"worker a={SLEEP}", f"server={SOON} os.kill(os.getpid(), 9)")
    said = gone(process, pids(tmp_path, 2))
    assert process.returncode == 137 and "the server was killed by SIGKILL" in said
    assert failure.why(tmp_path, 137).startswith("the server was killed by SIGKILL (the kernel does so when memory")


def test_a_helper_that_leaves_early_is_a_failure(tmp_path: Path) -> None:
    process = crew(tmp_path, f"worker a={SLEEP}", f"server={SOON}")
    assert "the server ended with exit code 0" in gone(process, pids(tmp_path, 2)) and process.returncode == 1


def test_it_can_be_told_to_stop(tmp_path: Path) -> None:
    process = crew(tmp_path, f"server={SLEEP}", f"worker={SLEEP}")
    known = pids(tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    gone(process, known)
    assert process.returncode == 143


def test_it_can_be_told_to_stop_while_members_are_still_being_started(tmp_path: Path) -> None:
    process = crew(tmp_path, *(f"worker {number}={SLEEP}" for number in range(12)))
    file = tmp_path / "pids"
    assert eventually(file.exists, within=10)
    process.send_signal(signal.SIGTERM)
    gone(process, [])
    assert process.returncode == 143 and not [pid for pid in map(int, file.read_text().split()) if is_alive(pid)]


def test_it_leaves_with_the_program_that_started_the_job(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SLEEP])
    process = crew(tmp_path, f"server={SLEEP}", f"worker={SLEEP}", **{PARENT: str(parent.pid)})
    known = pids(tmp_path, 2)
    parent.kill()
    parent.wait()
    gone(process, known)


def test_the_deaf_are_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
    process = crew(tmp_path, f"worker a={deaf}", f"worker b={SOON} raise SystemExit(1)")
    begin = time.monotonic()
    gone(process, pids(tmp_path, 2))
    assert time.monotonic() - begin < 10


def test_a_free_port_can_be_had() -> None:
    assert 1024 <= free_port() <= 65535
