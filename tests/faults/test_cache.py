"""What is damaged in the cache is passed over with a word, and costs no job that has measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from running import Command

Start = Callable[..., Command]


def test_damaged_certificates_cost_no_measurement(start_slow: Start, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "certificates"
    (kept / "folder.json").mkdir(parents=True)
    for name, text in {"cut": '{"schema": 3, "framework": "sl', "list": "[]", "binary": "\0\x07"}.items():
        (kept / f"{name}.json").write_text(text)
    command = start_slow("--framework", "slow", SLOW_STEP="0")
    assert command.wait() == 0
    assert command.kept() == command.records()
    assert "Traceback" not in command.told
    for file in kept.iterdir():
        assert command.told.count(f"dlcompare: {file} cannot be read (") == 1
