"""Every doubt speaks when it must, in words that say how much, and is silent when it must be."""

import math

import pytest
from fabricated import finished, job, ranks

from dlcompare.core.kinds.training.result import LossPoint, divergence
from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.record import Window
from dlcompare.core.reports.words import sentence, sentences

STEADY = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02]


@pytest.mark.parametrize("caveat, words", [
    (doubts.spread([10, 10, 12, 8, 11.5, 8.5]), "interquartile range is 22.5 % of the median"),
    (doubts.drift([10, 10, 10.2, 10.2, 11, 11]), "the last 2 windows are +10.0 % against the first 2"),
    (doubts.drift([10, 9.9, 9.8, 9.7, 9.6]), "one way through all 5 windows, -4.0 % from first to last"),
    (doubts.short([2.0, 2.0]), "2 windows of 4.00 s in all"),
    (doubts.short([9.0]), "1 window of 9.00 s"),
    (doubts.short([0.5] * 8), "8 windows of 4.00 s"),
    (doubts.stall([2, 2, 2], [0.01, 0.5, 0.2]),
     "in 2 of 3 windows training waited for it more than 5 % of the time (up to 25 %)"),
    (doubts.warm_up([3.0, 1.0, 2.0, 1.234567], settled=False), "after 4 warm-up steps (the last took 1, 2, 1.23 s)"),
])
def test_a_warning_says_what_and_how_much(caveat: Caveat | None, words: str) -> None:
    assert caveat is not None
    assert words in sentence(caveat)


@pytest.mark.parametrize("caveat", [
    doubts.spread(STEADY),
    doubts.drift(STEADY),
    doubts.drift([10, 10.05, 10.1, 10.12, 10.15]),  # one way, but hardly
    doubts.drift([10, 9, 8, 7]),  # four windows fall in order by chance once in twelve runs
    doubts.drift([10.0] * 5),
    doubts.short([1.0] * 5),
    doubts.stall([2, 2], [0.1, 0.0]),
    doubts.warm_up([3.0, 1.0, 1.0], settled=True),
])
def test_no_warning_without_a_cause(caveat: Caveat | None) -> None:
    assert caveat is None


def test_a_loss_that_is_no_number_is_told_with_its_step() -> None:
    points = [LossPoint(0, 6.9), LossPoint(4, None), LossPoint(9, math.nan)]
    assert "not finite at step 4 (2 of 3 recorded)" in str(divergence(points))
    assert divergence([LossPoint(0, 6.9), LossPoint(4, 2.0)]) is None


def test_windows_are_doubted_in_every_way_at_once() -> None:
    windows = [Window(steps=1, samples=8, seconds=(0.1, seconds), started=0.0, feed_seconds=0.05)
               for seconds in (0.5, 0.6, 0.7, 0.8)]
    assert [caveat.kind for caveat in doubts.of_windows(windows)] == ["short", "spread", "stall"]
    assert doubts.of_windows([Window(steps=1, samples=8, seconds=(2.0,), started=0.0)] * 5) == ()


def test_more_workers_than_cores_is_a_warning() -> None:
    crowd = job(workers=4)
    (said,) = [s for s in sentences(finished(crowd, ranks(crowd)).warnings) if "4 workers shared 2 usable cores" in s]
    assert "not how that many machines would do" in said
    assert not [s for s in sentences(finished(job()).warnings) if "usable cores" in s]
