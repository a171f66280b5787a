"""Training to a target in a worker process: it ends when the target is reached, or with the last epoch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dlcompare.core.kinds.time_to_accuracy.result import TargetRankResult, shortfall
from dlcompare.core.typed_json import from_plain

Start = Callable[..., "subprocess.Popen[bytes]"]  # the fixture `worker`, of conftest.py


@pytest.fixture
def trained(worker: Start, tmp_path: Path) -> Callable[..., TargetRankResult]:
    """Return a function that trains to a target and returns what the worker left."""
    def begin(**job: object) -> TargetRankResult:
        assert worker(of="time_to_accuracy", data="digits", **job).wait(120) == 0, (tmp_path / "log.txt").read_text()
        return from_plain(TargetRankResult, json.loads((tmp_path / "rank-0.json").read_text()), what="rank result")

    return begin


Trained = Callable[..., TargetRankResult]


def test_training_to_a_target_survives_a_warm_up_of_several_epochs(trained: Trained) -> None:
    """One step is an epoch here, so that the warm-up takes several, and an examination follows each one after it."""
    found = trained(batch=1000, target="top1=0.01", warmup_steps=3)
    assert found.target.reached and found.target.epochs == len(found.warmup) + 1
    assert [window.steps for window in found.windows] == [1]
    assert shortfall(found.target) is None


def test_a_target_out_of_reach_ends_with_the_epochs(trained: Trained) -> None:
    found = trained(batch=100, lr=0.0, target="top1=1", max_epochs=3)
    assert not found.target.reached and found.target.epochs >= 3
    assert len({point.top1 for point in found.target.curve}) == 1, "with lr 0 nothing is learnt"
    assert "short of 1; give it more --max-epochs" in str(shortfall(found.target))
