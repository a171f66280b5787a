"""Statistics agree with NumPy and SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dlcompare.core.records import stats

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
