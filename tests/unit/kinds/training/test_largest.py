"""The search for the largest batch finds it wherever memory ends, in few steps; with a real limit on real memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from running import Command

from dlcompare.core.kinds.training.largest import FINENESS, MOST_TRIES, best, search
from dlcompare.core.plugins.job import Trial

Start = Callable[..., Command]


def found(limit: int, *, start: int = 8, most: int = 10_000, least: int = 1) -> list[Trial]:
    return search(lambda batch: None if batch <= limit else "memory ran out", start=start, most=most, least=least)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 9, 31, 32, 100, 1437, 9_999])
@pytest.mark.parametrize("start", [2, 8, 64])
def test_what_is_found_fits_and_little_more_would_not(limit: int, start: int) -> None:
    tried = found(limit, start=start)
    largest = best(tried)
    assert largest is not None and largest <= limit <= largest + max(1, largest // FINENESS)
    assert len({one.batch for one in tried}) == len(tried) - 1 < MOST_TRIES, "nothing is tried twice but what is found"
    assert tried[-1].batch == largest
    assert [one.fits for one in tried] == [one.batch <= limit for one in tried]


def test_doubling_comes_first_and_bisection_then() -> None:
    assert [one.batch for one in found(100)] == [8, 16, 32, 64, 128, 96, 112, 104, 100, 100]
    assert [one.batch for one in found(3, start=64)] == [64, 32, 16, 8, 4, 2, 3, 3]


def test_there_is_no_more_than_the_data_have() -> None:
    assert [one.batch for one in found(10**9, most=50)] == [8, 16, 32, 50, 50]
    assert [one.batch for one in found(10**9, most=5)] == [5, 5]


def test_nothing_fits() -> None:
    tried = found(0, least=2)
    assert best(tried) is None and [one.batch for one in tried] == [8, 4, 2]


def test_time_bounds_the_search() -> None:
    clock = itertools.count(step=400.0)
    tried = search(lambda batch: None, start=1, most=1 << 16, clock=lambda: float(next(clock)))
    assert [one.batch for one in tried] == [1]


def test_what_does_not_fit_a_second_time_is_passed_over() -> None:
    seen: list[int] = []

    def moody(batch: int) -> str | None:
        seen.append(batch)
        return "memory ran out" if batch > 64 or (batch == 64 and seen.count(64) > 1) else None

    tried = search(moody, start=32, most=1000)
    largest = best(tried)
    assert seen[:6] == [32, 64, 128, 96, 80, 72] and seen.count(64) == 2
    assert largest is not None and 60 <= largest < 64 and [one.batch for one in tried].count(largest) == 2


@pytest.mark.slow
def test_a_real_limit_on_memory_is_found_kept_and_resumed(start_slow: Start) -> None:
    words = ("--framework", "reference", "--batch", "max", "--data", "synthetic")
    command = start_slow(*words, DLCOMPARE_MEMORY=str(500 << 20))
    command.wait(400)
    records: list[dict[str, Any]] = json.loads(command.printed)
    tried = records[0]["job"]["tried"]
    (largest,) = {record["batch_per_worker"] for record in records}
    assert largest == max(one["batch"] for one in tried if one["fits"]) > 8 and tried[-1]["batch"] == largest
    refused = [one for one in tried if not one["fits"]]
    assert refused and all("memory ran out" in one["reason"] for one in refused)
    assert f"--batch {largest}" in records[0]["reproduce"]
    again = start_slow(*words, "--resume", DLCOMPARE_MEMORY=str(500 << 20))
    again.wait(120)
    assert "trying" not in again.told
    assert json.loads(again.printed)[0]["batch_per_worker"] == largest


@pytest.mark.slow
def test_memory_that_runs_out_ends_a_branch_for_resume_as_well(start_slow: Start) -> None:
    words = ("--framework", "reference,several", "--batch", "64,60000,60001", "--data", "synthetic")
    command = start_slow(*words, DLCOMPARE_MEMORY=str(500 << 20), SLOW_STEP="0")
    assert command.wait(240) == 1, command.told
    records = json.loads(command.printed)
    assert [record["point"] for record in records] == [{"batch": batch} for batch in (64, 60000, 60001)
                                                       for _ in range(2)]
    states = [record["status"] for record in records]
    assert states == ["ok", "ok", "failed", "failed", "refused", "refused"]
    assert all("memory ran out" in record["reason"] for record in records[2:4])
    for failure, refusal in zip(records[2:4], records[4:], strict=True):
        assert f"with batch 60000 memory ran out already, in {failure['id']}" in refusal["reason"]
    again = start_slow(*words, "--resume", DLCOMPARE_MEMORY=str(500 << 20), SLOW_STEP="0")
    assert again.wait(60) == 1 and "window" not in again.told
    assert [record["status"] for record in json.loads(again.printed)] == states


def test_a_sweep_of_which_every_cell_is_refused_says_so_once(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", "--workers", "2,3", "--precision", "bf16,fp16")
    assert command.wait(60) == 1
    records = json.loads(command.printed)
    assert len(records) == 4 and {record["status"] for record in records} == {"refused"}
    assert all(record["reason"] for record in records) and command.kept()
