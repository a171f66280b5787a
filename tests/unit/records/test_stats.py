"""Statistics agree with NumPy and SciPy; every warning speaks when it must and is silent when it must be."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlcompare.core.records import stats

STEADY = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02]
weighted = st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 50)), min_size=1, max_size=20)


@given(weighted, st.floats(0, 100))
def test_percentile_is_numpys_of_the_values_written_out(pairs: list[tuple[float, int]], q: float) -> None:
    values, weights = zip(*pairs, strict=True)
    written = np.repeat(np.array(values), weights)
    assert stats.percentile(values, q, weights=weights) == pytest.approx(np.percentile(written, q), rel=1e-9, abs=1e-6)
    assert stats.percentile(values, q) == pytest.approx(np.percentile(values, q), rel=1e-9, abs=1e-6)


def test_median_and_iqr() -> None:
    assert stats.median([4, 1, 3, 2]) == 2.5
    assert stats.iqr([1, 2, 3, 4, 5]) == 2


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        stats.percentile([], 50)


def test_bootstrap_interval_is_scipys() -> None:
    values = np.random.default_rng(3).normal(100, 5, size=25).tolist()
    low, high = stats.bootstrap_interval(values)
    reference = scipy.stats.bootstrap((values,), np.median, method="percentile", n_resamples=4000, vectorized=True,
                                      rng=np.random.default_rng(0)).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.5)
    assert low < stats.median(values) < high
    assert stats.bootstrap_interval(values) == (low, high), "the same values must give the same interval"


def test_bootstrap_interval_covers_the_true_median() -> None:
    draws = np.random.default_rng(5).normal(size=(200, 30)).tolist()
    covered = [low <= 0 <= high for low, high in (stats.bootstrap_interval(d, resamples=300) for d in draws)]
    assert 0.88 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("value, expected", [(1, True), (0.5, True), (math.nan, False), (math.inf, False),
                                             (None, False), ("1", False)])
def test_is_finite(value: object, expected: bool) -> None:
    assert stats.is_finite(value) is expected


@pytest.mark.parametrize("sentence, words", [
    (stats.spread_warning([10, 10, 12, 8, 11.5, 8.5]), "interquartile range is 22.5 % of the median"),
    (stats.drift_warning([10, 10, 10.2, 10.2, 11, 11]), "the last 2 windows are +10.0 % against the first 2"),
    (stats.drift_warning([10, 9.9, 9.8, 9.7, 9.6]), "one way through all 5 windows, -4.0 % from first to last"),
    (stats.short_warning([2.0, 2.0]), "2 windows of 4.00 s in all"),
    (stats.short_warning([9.0]), "1 window of 9.00 s"),
    (stats.short_warning([0.5] * 8), "8 windows of 4.00 s"),
    (stats.stall_warning([2, 2, 2], [0.01, 0.5, 0.2]),
     "in 2 of 3 windows training waited for it more than 5 % of the time (up to 25 %)"),
    (stats.warmup_warning([3.0, 1.0, 2.0, 1.234567], settled=False),
     "after 4 warm-up steps (the last took 1, 2, 1.23 s)"),
    (stats.loss_warning([(0, 6.9), (4, None), (9, math.nan)]), "not finite at step 4 (2 of 3 recorded)"),
])
def test_a_warning_says_what_and_how_much(sentence: str | None, words: str) -> None:
    assert sentence is not None
    assert words in sentence


@pytest.mark.parametrize("sentence", [
    stats.spread_warning(STEADY),
    stats.drift_warning(STEADY),
    stats.drift_warning([10, 10.05, 10.1, 10.12, 10.15]),  # one way, but hardly
    stats.drift_warning([10, 9, 8, 7]),  # four windows fall in order by chance once in twelve runs
    stats.drift_warning([10.0] * 5),
    stats.short_warning([1.0] * 5),
    stats.stall_warning([2, 2], [0.1, 0.0]),
    stats.warmup_warning([3.0, 1.0, 1.0], settled=True),
    stats.loss_warning([(0, 6.9), (4, 2.0)]),
])
def test_no_warning_without_a_cause(sentence: str | None) -> None:
    assert sentence is None
