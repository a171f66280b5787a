"""A meter that disturbs gets a window of its own in a real worker, after all others and in none of their statistics."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import SLOW, offering

from dlcompare.core.errors import JobError
from dlcompare.core.kinds.training.loop import Loop
from dlcompare.core.plugins.job import Job


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


class Fed:
    """Batches of nothing."""

    waited = 0.0

    def __next__(self) -> None:
        return None


def test_a_loss_that_is_not_finite_only_in_that_window_costs_no_other() -> None:
    losses = iter([1.0, 1.0, 1.0, *3 * [float("nan")]])  # it is waited for twice a window
    trainer: Any = SimpleNamespace(rank=0, gather=lambda value: [value], step=lambda placed, lr: None,
                                   wait=lambda: next(losses))
    meters: Any = SimpleNamespace(rank=0, disturbing=True, read=dict, apart=lambda take: take(),
                                  used=lambda before, after: SimpleNamespace(joules={}, counted={}))
    loop = Loop(Job("reference", "speck", steps=1), trainer, Fed(), lambda *about, **more: None, meters)
    loop.take(1)
    assert loop.take_apart() == () and (len(loop.windows), len(loop.losses)) == (1, 1)
    with pytest.raises(JobError, match="diverged"):
        loop.take(1)
