"""A job that meets a limit of the shell (ulimit) says which, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from faulty import failure
from running import Command

Start = Callable[..., Command]


def limited(flags: str) -> tuple[str, ...]:
    """Return a prefix for a command that runs under a limit."""
    return ("sh", "-c", f'ulimit {flags} && exec "$@"', "sh")


def test_too_few_open_files_are_told_at_once(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", prefix=limited("-n 16"))
    assert command.wait() == 1
    assert command.records()["reference"]["reason"].startswith("a process may hold 16 files open here")


@pytest.mark.slow
def test_workers_that_never_were_are_told_as_such(start_slow: Start) -> None:
    command = start_slow("--framework", "slow", "--workers", "2", SLOW_STEP="0")  # its launcher knows of one alone
    reason = failure(command, "slow", within=30)
    assert reason.startswith("1 of 2 worker processes left a result, although the job ended with exit code 0")
    assert "sys.exit()" in reason


@pytest.mark.slow
def test_a_worker_that_has_used_up_its_processor_time(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", "--steps", "2000", "--windows", "500", prefix=limited("-t 4"))
    reason = failure(command, "reference", within=120)
    assert "a process is ended here once it has taken 3 s of processor time; raise that limit (ulimit -t)" in reason
    assert "memory" not in reason


@pytest.mark.slow
def test_addresses_that_run_out(start_slow: Start) -> None:
    words = ("--framework", "reference", "--model", "vgg19", "--image-size", "32")
    reason = failure(start_slow(*words, prefix=limited("-v 1500000")), "reference", within=120)
    assert "1.43 GiB of addresses here; raise that limit (ulimit -v)" in reason


def test_processor_time_of_our_own_that_is_used_up_keeps_what_is_finished(start_slow: Start) -> None:
    command = start_slow("--framework", "reference,slow", "--windows", "200")
    command.until("slow", "window")
    command.process.send_signal(signal.SIGXCPU)  # as the system does a second before it kills
    assert command.wait(10) == 130
    assert command.left() == [] and list(command.kept()) == ["reference"]
    assert "the limit on processor time (ulimit -t) was met; raise it; finished jobs are kept" in command.told
