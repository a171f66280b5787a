"""The line through times by size: exact where times lie on one, its interval honest, a bad fit said."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from scipy.optimize import least_squares

from dlcompare.core.records.alpha_beta import fit, line, resampled_medians
from dlcompare.core.records.stats import bootstrap_interval, percentile

SIZES = [1 << power for power in range(10, 25, 2)]


def test_a_line_is_found_again() -> None:
    found = fit({size: [2e-4 + size / 5e8] * 5 for size in SIZES})
    assert found and found.alpha == pytest.approx(2e-4) and 1 / found.beta == pytest.approx(5e8)
    assert found.worst < 1e-9 and not found.poor and found.seconds(1000) == pytest.approx(2e-4 + 2e-6)
    assert found.residuals.keys() == {str(size) for size in SIZES}


def test_it_minimises_relative_squares() -> None:
    draw = random.Random(3)
    points = {size: (2e-4 + size / 5e8) * draw.uniform(0.8, 1.2) for size in SIZES}
    sizes, times = np.array(list(points)), np.array(list(points.values()))
    best = least_squares(lambda p: (1e-4 * p[0] + sizes * p[1] * 1e-9) / times - 1, [1.0, 1.0], xtol=1e-14, ftol=1e-14)
    assert line(points) == pytest.approx((1e-4 * best.x[0], 1e-9 * best.x[1]), rel=1e-5)


def test_neither_part_is_below_nothing() -> None:
    assert line({1: 1.0, 2: 2.2, 3: 3.6})[0] == 0.0
    alpha, beta = line({1: 3.0, 2: 2.0, 3: 1.0})
    assert beta == 0.0 and alpha > 0


def test_two_sizes_are_no_evidence_of_a_line() -> None:
    assert fit({1024: [1e-4], 4096: [2e-4]}) is None


def test_a_curve_is_a_bad_fit() -> None:
    found = fit({size: [1e-4 if size < 1 << 20 else 0.01] * 5 for size in SIZES})
    assert found and found.poor


def test_intervals_hold_what_they_should() -> None:
    """Of 30 lines measured with noise, at least 24 intervals of each part hold the truth (95 % would be 28 or 29)."""
    draw, held = random.Random(5), [0, 0]
    for _ in range(30):
        found = fit({size: [(2e-4 + size / 5e8) * draw.lognormvariate(0, 0.3) for _ in range(31)] for size in SIZES})
        assert found
        held[0] += found.alpha_low <= 2e-4 <= found.alpha_high
        held[1] += found.beta_low <= 2e-9 <= found.beta_high
    assert min(held) >= 24


def test_medians_drawn_at_once_are_those_of_resamples() -> None:
    draw = random.Random(7)
    for count in (5, 6, 40, 101):
        values = [draw.lognormvariate(0, 0.5) for _ in range(count)]
        drawn = resampled_medians(values, draw, 4000)
        low, high = bootstrap_interval(values, resamples=4000)
        width = high - low
        assert statistics.fmean(drawn) == pytest.approx(statistics.median(values), abs=width / 3)
        assert percentile(drawn, 2.5) == pytest.approx(low, abs=width / 3)
        assert percentile(drawn, 97.5) == pytest.approx(high, abs=width / 3)
