"""A process that was stopped knows it afterwards; one that works, or holds the GIL, did not stand still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from dlcompare.core.meters.standstill import Patience, read, since

# A worker's watch naps for a second at a time, while the main thread does what the argument says.
WORKER = """
import sys, threading, time
from dlcompare.core.meters import standstill
def naps():
    while True:
        with standstill.OWN.nap(0.5):
            time.sleep(0.5)
threading.Thread(target=naps, daemon=True).start()
time.sleep(0.1)
before = standstill.read()
print("ready", flush=True)
exec(sys.argv[1])
print(standstill.since(before), flush=True)
"""
WAIT, WORK = "sys.stdin.readline()", "while time.process_time() < 1.5: pass"
ASIDE = "t = threading.Thread(target=lambda: 9 ** 5_000_000); t.start(); t.join()"  # another thread holds the GIL
HOLD = "9 ** 4_000_000"  # one call, of a second or two


def worker(does: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WORKER, does], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def test_a_stopped_process_knows_how_long_it_stood_still() -> None:
    process = worker(WAIT)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate("\n", timeout=20)
    assert 1.0 < float(told) < 6.0


@pytest.mark.slow  # looks at the clock: what a thread that ended had waited for a core is not known
@pytest.mark.parametrize("does", [WORK, HOLD, ASIDE])
def test_a_busy_process_did_not_stand_still(does: str) -> None:
    told, _ = worker(does).communicate(timeout=60)
    assert float(told) == 0.0


def test_patience_is_not_used_up_by_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.25, 100.5, 900.0, 900.25])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    clock = Patience()
    assert [clock() for _ in range(4)] == [0.25, 0.5, 1.5, 1.75]


def test_the_sleep_of_the_machine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, clock = 0.0, time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept * (which == time.CLOCK_BOOTTIME))
    before = read()
    assert since(before) == 0.0
    slept = 3600.0
    assert since(before) == pytest.approx(3600.0, abs=1.0)
