"""A meter that disturbs gets a window of its own in a real worker, after all others and in none of their statistics."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from running import SLOW, offering


@pytest.mark.parametrize(("more", "windows"), [({}, 1), ({"save": True}, 0)])
def test_the_window_of_a_meter_that_disturbs_is_in_no_series(
        worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, more: dict[str, bool], windows: int) -> None:
    """And there is none where parameters are kept, which would be trained further."""
    process = worker(variables=offering(*SLOW, "disturbing"), **more)
    assert process.wait(120) == 0, (tmp_path / "log.txt").read_text()[-2000:]
    rank = json.loads((tmp_path / "rank-0.json").read_text())
    assert (len(rank["windows"]), len(rank["apart"])) == (2, windows)
    assert not any("workers cycles" in window["counted"] for window in rank["windows"])
    assert all(0 < window["counted"]["workers cycles"] < 60 for window in rank["apart"])
    assert len(rank["losses"]) == len(rank["warmup"]) + 2, "the loss of that window is in no series"
    assert [one["apart"] for one in rank["meters"] if one["name"] == "disturbing"] == [True]
