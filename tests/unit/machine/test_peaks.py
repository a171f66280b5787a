"""The roofline is arithmetic over published peaks, and says which of the two bounds a step."""

from __future__ import annotations

import pytest

from dlcompare.core.machine import peaks


def test_the_peaks_of_a_core_are_shares_of_the_published_ones() -> None:
    v2, v3 = peaks.peak("TPU v2"), peaks.peak("TPU v3")
    assert v2 and (v2.accelerator, v2.memory, v2.flops, v2.bandwidth) == ("TPU v2-8", 8e9, 22.5e12, 300e9)
    assert v3 and (v3.memory, v3.flops, v3.bandwidth) == (16e9, 52.5e12, 450e9)
    assert peaks.peak("TPU v9") is None


@pytest.mark.parametrize(("flops", "traffic", "seconds", "bound"), [
    (52.5e12, 45e9, 1.0, "arithmetic"), (5.25e12, 900e9, 2.0, "memory traffic")])
def test_the_slower_of_the_two_bounds_a_step(flops: float, traffic: float, seconds: float, bound: str) -> None:
    peak = peaks.peak("TPU v3")
    assert peak
    found = peaks.estimate(peak, flops=flops, traffic=traffic, global_batch=512)
    assert (found.seconds, found.bound, found.samples_per_second) == (seconds, bound, 512 / seconds)
