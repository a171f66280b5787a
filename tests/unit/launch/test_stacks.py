"""Where workers stand when a job is given up: asked, read again, told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import eventually

from dlcompare.core.launch import failure, stacks

WORKER = """
import sys, pathlib, threading, time
from dlcompare.core.launch.stacks import offer
offer(pathlib.Path())
def gather():
    time.sleep(600)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("ready", flush=True)
gather()
"""
DUMP = """Thread 0x00007f (most recent call first):
  File "/opt/lib/python3.11/threading.py", line 327 in wait

Thread 0x00006f (most recent call first):
  File "/opt/lib/python3.11/threading.py", line 327 in wait
{frames}
  File "/home/me/core/kinds/training/loop.py", line 45 in time_window
  File "<frozen runpy>", line 88 in _run_code

"""
GATHER, STEP = '  File "/x/slow.py", line 98 in gather', '  File "/x/plug.py", line 4 in step'
LIBRARY = ('  File "/e/lib/python3.11/site-packages/torch/autograd/graph.py", line 9 in run\n'
           '  File "/x/t.py", line 7 in step')


def laid(folder: Path, *workers: tuple[str, str], phases: tuple[str, ...] = ("data",) * 9, ranks: bool = True) -> str:
    """Lay a folder out as workers of states and frames leave it, with pids from 10; return the reason told of it."""
    text, events = "", []
    for rank, (state, frames) in enumerate(workers):
        events.append({"pid": 10 + rank, "phase": phases[rank], **({"rank": rank} if ranks else {})})
        text += f"{stacks.HEAD}{json.dumps({'pid': 10 + rank, 'state': state})}\n"
        text += DUMP.format(frames=frames) if frames else ""
    (folder / "stacks.txt").write_text(text)
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return failure.explain_stall(folder, 5).partition("all were stopped")[2].partition(". All threads")[0]


@pytest.mark.parametrize(("workers", "told"), [
    ([("S", GATHER), ("S", STEP)], ": rank 1 (process 11) is stuck in step (plug.py, line 4), phase 'data'; "
                                   "rank 0 (process 10) waits in gather (slow.py, line 98), phase 'data'"),
    ([("R", LIBRARY), ("T", "")], ": rank 1 (process 11) is stuck, stopped by a signal (SIGSTOP, or a debugger), phase "
                                  "'data'; rank 0 (process 10) waits in step (t.py, line 7), phase 'data'"),
    ([("T", ""), ("S", '  File "<string>", line 59 in horovod_allreduce\n  File "/x/t.py", line 7 in _reduce')],
     ": rank 0 (process 10) is stuck, stopped by a signal (SIGSTOP, or a debugger), phase 'data'; rank 1 (process 11) "
     "waits in _reduce (t.py, line 7), phase 'data'"),
    ([("S", LIBRARY), ("S", GATHER)], ": rank 1 (process 11) waits in gather (slow.py, line 98), phase 'data'; rank 0 "
                                      "(process 10) waits in step (t.py, line 7), phase 'data'"),
    ([("S", STEP), ("S", STEP)], ": ranks 0, 1 stand in step (plug.py, line 4), phase 'data'"),
    ([("D", ""), *[("S", GATHER)] * 4, ("S", STEP)],
     ": rank 5 (process 15) is stuck in step (plug.py, line 4), phase 'data'; rank 0 (process 10) is stuck, which did "
     "not say where, phase 'data'; ranks 1-4 wait in gather (slow.py, line 98), phase 'data'"),
])
def test_who_is_stuck_is_told_from_who_waits(workers: list[tuple[str, str]], told: str, tmp_path: Path) -> None:
    found = laid(tmp_path, *workers)
    assert sorted(found[2:].split("; ")) == sorted(told[2:].split("; "))
    assert found.find("stuck") < found.find("wait") or "stuck" not in found


def test_nobody_waits_for_others_while_he_imports_and_a_rank_may_not_be_known(tmp_path: Path) -> None:
    assert laid(tmp_path, ("S", LIBRARY), ("S", GATHER), phases=("import", "build"), ranks=False) == (
        ": process 10 is stuck in step (t.py, line 7), phase 'import'; process 11 waits in gather (slow.py, line 98), "
        "phase 'build'")


def test_numbers_in_a_row_are_told_as_such() -> None:
    assert failure.spans([0, 1, 2, 4, 6, 7]) == "0-2, 4, 6, 7"


def test_a_process_tells_where_it_stands_unless_it_was_stopped(tmp_path: Path) -> None:
    stacks.invite(tmp_path)
    processes = [subprocess.Popen([sys.executable, "-c", WORKER], cwd=tmp_path, stdout=subprocess.PIPE)
                 for _ in range(2)]
    try:
        assert all(process.stdout and process.stdout.readline() == b"ready\n" for process in processes)
        time.sleep(0.1)
        os.kill(processes[1].pid, signal.SIGSTOP)
        assert eventually(lambda: stacks.state_of(processes[1].pid) == "T", within=5)
        stacks.ask(tmp_path, [process.pid for process in processes])
        first, second = stacks.read(tmp_path)
        assert (first.pid, first.where, first.waits) == (processes[0].pid, " in gather (<string>, line 6)", True)
        assert (second.pid, second.waits) == (processes[1].pid, False) and "SIGSTOP" in second.where
        assert all(process.poll() is None for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_stopped_server_is_named_and_no_other_process_disturbed(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        os.kill(processes[1].pid, signal.SIGSTOP)
        assert eventually(lambda: stacks.state_of(processes[1].pid) == "T", within=5)
        stacks.note_stopped(tmp_path, [process.pid for process in processes])
        (found,) = stacks.read(tmp_path)
        assert found.pid == processes[1].pid and processes[0].poll() is None
        assert found.where == " (http.server), stopped by a signal (SIGSTOP, or a debugger)"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_file_is_left_only_if_somebody_was_asked(tmp_path: Path) -> None:
    for text, left in (("", False), ("x", True)):
        (tmp_path / "stacks.txt").write_text(text)
        stacks.remove_empty(tmp_path)
        assert (tmp_path / "stacks.txt").exists() == left
