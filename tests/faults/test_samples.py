"""Samples that no network can use: the same answer under every framework, in time, and the same ones left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faulty import failure
from running import SLOW, Command, offering

REASONS = {
    "nan": "sample train/17 of spoilt:nan cannot be used: 'image' holds 1 of 192 values that are not finite. Repair",
    "label": "sample train/17 of spoilt:label cannot be used: 'label' holds 5009, and the network takes 0 to 9. Repair",
    "rows": "spoilt:rows gives 'image' as float32 of shape (2, 3, 7, 8), but the network reads float32 of shape",
    "type": "spoilt:type gives 'image' as float64 of shape (2, 3, 8, 8), but the network reads float32 of shape",
}
SPOILT = offering(*SLOW, "spoilt")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["nan", "label"])
def test_a_bad_sample_fails_the_job_by_name(train: Callable[..., Command], framework: str, fault: str) -> None:
    command = train("--framework", framework, "--data", f"spoilt:{fault}", "--windows", "100", **SPOILT)
    assert failure(command, framework, within=120).startswith(REASONS[fault])


@pytest.mark.parametrize("fault", sorted(REASONS))
def test_a_bad_sample_fails_a_job_of_the_tests_backends_too(start_slow: Callable[..., Command], fault: str) -> None:
    command = start_slow("--framework", "slow", "--data", f"spoilt:{fault}", "--windows", "40", SLOW_STEP="0", **SPOILT)
    assert failure(command, "slow", within=60).startswith(REASONS[fault])


@pytest.mark.parametrize("fault", ["nan", "label"])
def test_a_bad_sample_is_left_out_where_that_is_wanted(start_slow: Callable[..., Command], fault: str) -> None:
    words = ("--data", f"spoilt:{fault}", "--on-bad-sample", "skip", "--windows", "40")
    command = start_slow("--framework", "slow,several", *words, SLOW_STEP="0", **SPOILT)
    assert command.wait() == 0, command.told
    records = command.records()
    assert {record["job"]["skip"][0] for record in records.values()} == {"train/17"}
    assert len({record["sample_order_sha256"] for record in records.values()}) == 1
