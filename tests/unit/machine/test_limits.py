"""The limit that somebody met is named, and only one that is set."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from dlcompare.core.launch import failure
from dlcompare.core.machine import limits

NONE = resource.RLIM_INFINITY


def set_limits(monkeypatch: pytest.MonkeyPatch, **by_name: int) -> None:
    numbers = {getattr(resource, f"RLIMIT_{name}"): value for name, value in by_name.items()}
    monkeypatch.setattr(resource, "getrlimit", lambda number: (numbers.get(number, NONE), NONE))


@pytest.mark.parametrize(("said", "set_", "named"), [
    ("OSError: [Errno 24] Too many open files: 'x'", {"NOFILE": 16}, "hold 16 files open here; raise that limit"),
    ("MemoryError: Unable to allocate 8 GiB", {"AS": 2**31, "NOFILE": 16}, "2.00 GiB of addresses here"),
    ("RuntimeError: can't start new thread", {"NPROC": 50}, "50 processes and threads here"),
    ("RuntimeError: can't start new thread", {"NPROC": 50, "AS": 2**30}, "(ulimit -v)"),
    ("MemoryError: Unable to allocate 8 GiB", {"NOFILE": 16}, None), ("ValueError: nonsense", {"AS": 2**30}, None)])
def test_who_meets_a_limit_is_told_which(said: str, set_: dict[str, int], named: str | None,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, **set_)
    found = limits.met(said)
    assert (named in found) if found and named else found is named


def test_memory_is_not_blamed_where_a_limit_is_met(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("$ python\n")
    (tmp_path / "events.jsonl").write_text('{"pid": 100, "phase": "window", "rank": 0}\n')
    set_limits(monkeypatch, CPU=5)
    for code, launcher in ((1, None), (-9, 99)):
        reason = failure.why(tmp_path, code, launcher)
        assert "once it has taken 5 s of processor time; raise that limit (ulimit -t)" in reason
        assert "memory" not in reason
    set_limits(monkeypatch, AS=2**30)
    (tmp_path / "log.txt").write_text("$ python\nMemoryError\n")
    assert failure.why(tmp_path, 1).endswith("(MemoryError); a process may take 1.00 GiB of addresses here; raise that "
                                             "limit (ulimit -v)")


def test_too_few_open_files_are_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, NOFILE=16)
    assert "a process may hold 16 files open here" in str(limits.too_few_files())
    for enough in (NONE, 64, 1 << 20):
        set_limits(monkeypatch, NOFILE=enough)
        assert limits.too_few_files() is None
