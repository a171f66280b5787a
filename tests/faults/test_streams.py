"""Where what is printed goes: nowhere, or on a full disk. Jobs run and records are kept all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from running import Command

Start = Callable[..., Command]


def shell(redirection: str) -> tuple[str, ...]:
    """Return a prefix for a command that redirects its streams."""
    return ("sh", "-c", f'exec "$@" {redirection}', "sh")


def test_a_run_without_standard_streams_runs_and_keeps_its_records(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", prefix=shell("<&- >&- 2>&-"), SLOW_STEP="0")
    assert command.wait() == 0, command.told
    assert command.kept()["reference"]["status"] == "ok"
    assert "Traceback" not in command.told


def test_a_run_that_cannot_print_says_where_its_records_are(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", prefix=shell(">/dev/full"), SLOW_STEP="0")
    assert command.wait() == 1
    assert command.kept()["reference"]["status"] == "ok"
    said = f"No space left on device; the records are kept: dlcompare report {command.runs[0]}\n"
    assert command.told.endswith(f"dlcompare: cannot print: {said}") and "Traceback" not in command.told


@pytest.mark.parametrize(("argument", "redirection", "code", "said"), [
    ("list", ">/dev/full", 1, "dlcompare: cannot print: No space left on device; make room, or print elsewhere\n"),
    ("--help", ">/dev/full", 1, "dlcompare: cannot print: No space left on device; make room, or print elsewhere\n"),
    ("list", ">/dev/full 2>/dev/full", 1, ""), ("--nonsense", "2>/dev/full", 2, ""), ("list", ">&-", 0, ""),
    ("list", "| head -n 1 >/dev/null", 0, "")])
def test_what_cannot_be_printed_is_one_message(argument: str, redirection: str, code: int, said: str) -> None:
    argv = [*shell(redirection), sys.executable, "-m", "dlcompare.core", argument]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)
