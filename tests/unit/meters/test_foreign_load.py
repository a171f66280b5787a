"""What the machine did for others: read from a made-up /proc, and from the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from running import eventually

from dlcompare.core.meters import foreign_load
from dlcompare.core.meters.foreign_load import Foreign, Reading, others, read
from dlcompare.core.variables import JOB_MARK

TICKS, MINE = foreign_load.TICKS, min(os.sched_getaffinity(0))


def machine(root: Path, *, busy: int, steal: int = 0, job: int = 0, alien: int = 0) -> tuple[Path, Path]:
    """Write a /proc and a /sys in which everybody has used so many seconds."""
    proc, sys_ = root / "proc", root / "sys"
    throttle = sys_ / "devices/system/cpu/cpu0/thermal_throttle"
    for folder in (proc / "7", proc / "8", proc / "self", throttle):
        folder.mkdir(parents=True, exist_ok=True)
    (proc / "stat").write_text(
        f"cpu  1 2 3\ncpu{MINE} {busy * TICKS} 0 0 99999 5 0 0 {steal * TICKS} 0 0\ncpu999 {TICKS} 0 0 0 0 0 0 0 0 0\n")
    for pid, mark, used in ((7, "mine", job), (8, "other", alien)):
        (proc / str(pid) / "environ").write_bytes(f"A=1\0{JOB_MARK}={mark}\0".encode())
        (proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 {used * TICKS} 0 0 0 20 0")
    (throttle / "core_throttle_count").write_text("3\n")
    return proc, sys_


def test_a_reading_tells_the_job_from_the_rest(tmp_path: Path) -> None:
    proc, sys_ = machine(tmp_path, busy=50, steal=5, job=20, alien=30)
    assert read("mine", proc=proc, sys=sys_) == Reading(busy=55.0, job=20.0, throttled=3)


def test_no_proc_is_no_reading(tmp_path: Path) -> None:
    assert read("mine", proc=tmp_path, sys=tmp_path) is None
    assert others(None, None, seconds=1.0) == Foreign(None, None)


def test_what_others_took_is_in_cores() -> None:
    before, after = Reading(100.0, 50.0, 1), Reading(108.0, 54.0, 3)
    assert others(before, after, seconds=4.0) == Foreign(cores=1.0, throttled=2)


def test_clock_ticks_do_not_make_it_negative() -> None:
    assert others(Reading(1.0, 1.0, 0), Reading(1.0, 1.01, 0), seconds=1.0).cores == 0.0


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
@pytest.mark.parametrize("mark", ["mine", "another's"])
def test_the_real_machine_knows_whose_work_it_does(mark: str) -> None:
    code = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    spinner = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, JOB_MARK: mark})
    times = psutil.Process(spinner.pid).cpu_times
    try:
        assert eventually(lambda: times().user > 0.1, within=60)
        before, begin = read("mine"), times().user
        assert eventually(lambda: times().user > begin + 0.5, within=60)
        end, after = times().user, read("mine")
    finally:
        spinner.kill()
        spinner.wait()
    assert before and after
    assert after.job - before.job == pytest.approx((end - begin) * (mark == "mine"), abs=0.2)
