"""The main job proves itself: what no certificate speaks for is verified when it has been measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fabricated import finished, job
from running import Command

from dlcompare.core.kinds.training import proof

WORDS = ("--framework", "slow", "--windows", "2")


def seen(command: Command) -> list[Path]:
    """Return what a verification beside a command left of what it saw."""
    folder = command.runs[-1] / "verification-0"
    return [*folder.glob("*/case-*.safetensors"), *folder.glob("*/*.seen-*")]


@pytest.mark.slow
def test_a_comparison_makes_the_certificates_that_it_lacks_and_the_next_one_uses_them(
        start_slow: Callable[..., Command]) -> None:
    first = start_slow(*WORDS, "--verify", "auto", SLOW_STEP="0")
    assert first.wait() == 0
    record = first.records()["slow"]
    assert record["verified"]["passed"] and first.kept() == first.records()
    (proof,) = json.loads((first.runs[-1] / "verification-0" / "records.json").read_text())
    assert proof["kind"] == "verification" and proof["status"] == "ok"
    assert seen(first) == [], "what agreed need not be kept"
    judging = [line.partition(": judge")[0] for line in first.told.splitlines() if ": judge" in line]
    assert set(judging) == {"dlcompare: slow speck, verification"}
    second = start_slow(*WORDS, "--verify", "auto", SLOW_STEP="0")
    assert second.wait() == 0
    assert second.records()["slow"]["verified"] == record["verified"]
    assert not (second.runs[-1] / "verification-0").exists()
    anew = start_slow(*WORDS, "--verify", "full", SLOW_STEP="0")
    assert anew.wait() == 0
    assert anew.records()["slow"]["verified"]["certificate"] != record["verified"]["certificate"]


def test_nothing_is_verified_that_is_not_to_be(start_slow: Callable[..., Command]) -> None:
    command = start_slow(*WORDS, "--verify", "off", SLOW_STEP="0")
    assert command.wait() == 0
    assert command.records()["slow"]["verified"] is None and not (command.runs[-1] / "verification-0").exists()


def test_a_framework_that_computes_something_else_is_told_so_and_fails_the_command(
        start_slow: Callable[..., Command]) -> None:
    command = start_slow("--framework", "drifting", "--windows", "2", "--verify", "auto", SLOW_STEP="0")
    assert command.wait() == 1
    record = command.records()["drifting"]
    assert record["status"] == "ok" and not record["verified"]["passed"]
    assert seen(command), "what differs can be looked at"


@pytest.mark.slow
def test_a_rounding_that_moves_the_losses_far_is_found_and_kept(start_slow: Callable[..., Command]) -> None:
    words = ("--framework", "slow,drifting", "--windows", "2", "--verify", "auto")
    command = start_slow(*words, SLOW_STEP="0")
    assert command.wait() == 1, "drifting is not right, and is told so by its certificate"
    moved = {one["step"]: one["loss"] for one in command.records()["slow"]["rounding"]}
    assert moved and max(moved.values()) < 1e-3, "a small network at this rate is hardly moved by rounding"
    assert (command.runs[-1] / "rounding" / "records.json").is_file()
    again = start_slow(*words, SLOW_STEP="0")
    assert again.wait() == 1
    assert again.records()["slow"]["rounding"] == command.records()["slow"]["rounding"]
    assert not (again.runs[-1] / "rounding").exists(), "the outcome is kept"


def test_a_network_too_large_to_be_verified_by_the_way_says_how_to_have_it() -> None:
    told: list[str] = []
    run: Any = SimpleNamespace(tell=lambda job, event: told.append(event["text"]))
    proof.verify(run, "verification-0", [finished(job(model="inception_v3"))], anew=False)
    (text,) = told
    assert "need 299 x 299 at least" in text
    assert text.endswith("dlcompare verify --framework pytorch-ddp --model inception_v3 --image-size PIXELS")
