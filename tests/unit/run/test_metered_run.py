"""A whole run beside which meters are read, from recordings: the command line, its records, tables and CSV."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from boards import Board, Clock, job, record
from running import Command

from dlcompare.core.variables import REPLAY_METERS

pytestmark = pytest.mark.slow  # windows must be as long as a meter wants them


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Command]:
    """Return what runs the reference on a tiny network beside a board."""
    def start(*words: str, **traits: Any) -> Command:
        file, clock = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl", Clock()
        record(Board(**{"load": job(2, 500), "clock": clock, **traits}), clock, file, seconds=40.0)
        command = Command("--framework", "reference", "--model", "resnet18", "--image-size", "32", "--batch", "2",
                          "--windows", "2", "--verify", "off", *words, out=tmp_path / "runs", folder=tmp_path,
                          variables={REPLAY_METERS: str(file)})
        assert command.wait(120) == 0, command.told
        return command

    return start


def test_a_record_says_what_its_windows_took(run: Callable[..., Command]) -> None:
    found = run("--env", "current").records()["reference"]
    (spent,) = found["energy"]
    assert (spent["scope"], spent["method"]) == ("gpu 0", "counter") and spent["watts"] == pytest.approx(320, rel=0.05)
    assert found["devices"] == [["gpu 0"]] and spent["duty"] == 0.25
    assert "nvidia" in {one["name"] for one in found["meters"] if one["sort"] == "series"}


def test_a_gpu_that_is_lost_midway_costs_its_joules_and_no_more(run: Callable[..., Command]) -> None:
    found = run("--env", "current", lost={0: 4.0}).records()["reference"]
    assert found["status"] == "ok" and found["energy"] == []
    (caveat,) = [one for one in found["warnings"] if one["kind"] == "energy missing"]
    assert "GPU is lost" in caveat["values"]["reason"]


def test_what_is_no_recording_is_absent_with_its_reason(run: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("nothing")
    command = Command("--framework", "reference", "--model", "resnet18", "--image-size", "32", "--windows", "1",
                      "--batch", "2", "--steps", "1", "--verify", "off", "--env", "current", "--cool-down", "4",
                      out=tmp_path / "runs", folder=tmp_path, variables={REPLAY_METERS: str(tmp_path / "none.jsonl")})
    assert command.wait(120) == 0, command.told
    found = command.records()["reference"]
    (meter,) = [one for one in found["meters"] if one["name"] == "nvidia"]
    assert "none.jsonl, which is no recording" in meter["reason"]
    assert found["cool_down"] == 4 and "cool-down" in command.told
    (memory,) = [one for one in found["meters"] if one["name"] == "memory"]
    begun = datetime.fromisoformat(found["started"]).timestamp() - time.time() + time.monotonic()
    assert begun - memory["series"][0]["begin"] < 3, "meters look when it has cooled down, not before"
