"""Joules to a target: of all that led to it, by every scope of a meter, and none where it was not reached."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boards import Board, Clock, record
from boards import job as load

from dlcompare.core.kinds.time_to_accuracy.report import joules
from dlcompare.core.kinds.time_to_accuracy.result import Examination, Target, TargetRecord
from dlcompare.core.launch import sampling
from dlcompare.core.meters.meter import Metered, Quantity
from dlcompare.core.records.record import Window
from dlcompare.core.run import metered

PACKAGE = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes a record of a job that took from 4 to 9 s to its target, beside a board that was busy then."""
    clock = Clock()
    board = record(Board(load=load(4, 9), clock=clock), clock, tmp_path / "recording.jsonl", seconds=12.0)
    monkeypatch.setattr(sampling, "read", lambda file: (board,))

    def make(*, top1: float) -> TargetRecord:
        target = Target("top1", 0.9, True, top1, 5.0, 1.0, 2, 10, 80, 100, (Examination(2, 10, 5.0, 0.1, top1, 1.0),),
                        clock=4.0, joules={"cpu package-0": 250.0})
        window = Window(steps=1, samples=8, seconds=(2.0,), started=0.0, clock=5.0, joules={"cpu package-0": 90.0})
        found = TargetRecord(status="ok", id="job", run="run", started="2026-11-30T00:00:00+00:00", framework="any",
                             job={"target": "top1=0.9"}, reproduce="", windows=(window,), target=target,
                             batch_per_worker=8, meters=(PACKAGE,))
        return metered.with_meters(found, [SimpleNamespace(devices=None)], tmp_path)

    return make


def test_joules_to_a_target_are_those_of_all_that_led_to_it(trained: Any) -> None:
    found = {one.scope: one for one in trained(top1=0.95).energy_to_target}
    assert found["cpu package-0"].per_sample == 250.0 and found["cpu package-0"].watts == 50.0
    assert found["gpu 0"].per_sample == pytest.approx(5 * 320, rel=0.03)
    assert joules(found["gpu 0"]) == "gpu 0 took 1,597 J within 2 % by its counter, 319.4 W on average"


def test_a_target_that_was_not_reached_has_none(trained: Any) -> None:
    assert trained(top1=0.5).energy_to_target == ()


def test_records_from_before_say_nothing_of_energy(trained: Any) -> None:
    found = trained(top1=0.95)
    old = dataclasses.replace(found, meters=(), target=dataclasses.replace(found.target, clock=None, joules={}))
    assert old.derived(old.windows)["energy_to_target"] == ()
