"""Statistics of raw windows.

Standard library alone: the parent folds records while nothing else should load, and SciPy would weigh 40 MB there.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeGuard

LEVEL = 0.95
FEW = 200  # values: of more, resamples take more memory than drawing them again takes time
PRIOR = 0.1  # of the mixture in anytime_half_width: expects differences of a few times the noise, not fractions of it


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether the value is a number, and neither NaN nor infinite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def percentile(values: Sequence[float], q: float, *, weights: Sequence[int] | None = None) -> float:
    """Return the q-th percentile (0 to 100) by linear interpolation, NumPy's default rule.

    With ``weights`` each value counts that many times.

    Raises:
        ValueError: there are no values.
    """
    pairs = sorted(zip(values, weights or [1] * len(values), strict=True))
    ends = list(accumulate(weight for _, weight in pairs))
    if not ends or not ends[-1]:
        raise ValueError("no values: a percentile needs at least one")
    place = q / 100 * (ends[-1] - 1)
    low, high = (pairs[bisect_right(ends, index)][0] for index in (math.floor(place), math.ceil(place)))
    return low + (high - low) * (place - math.floor(place))


def median(values: Sequence[float]) -> float:
    """Return the middle value; the mean of the two middle ones when their number is even."""
    return percentile(values, 50)


def iqr(values: Sequence[float]) -> float:
    """Return the interquartile range, in the unit of the values."""
    return percentile(values, 75) - percentile(values, 25)


def bootstrap_interval(values: Sequence[float], *, level: float = 0.95, resamples: int = 2000,
                       seed: int = 0) -> tuple[float, float]:
    """Return the percentile-bootstrap interval of the median (Efron 1979); the same values give the same interval.

    With fewer than about six values it is hardly narrower than their range and covers less than ``level``; hence the
    warning about short runs.
    """
    low, high = (len(values) - 1) // 2, len(values) // 2
    drawn = (sorted([values[place] for place in places]) for places in draws(len(values), resamples, seed))
    medians = sorted((one[low] + one[high]) / 2 for one in drawn)
    tail = (1 - level) / 2 * 100
    return percentile(medians, tail), percentile(medians, 100 - tail)


def draws(count: int, resamples: int, seed: int) -> Iterable[list[int]]:
    """Return the places that resamples of so many values take theirs from; held if they are few."""
    return few_draws(count, resamples, seed) if count <= FEW else new_draws(count, resamples, seed)


@functools.lru_cache(maxsize=4)
def few_draws(count: int, resamples: int, seed: int) -> list[list[int]]:
    """Return the same again for whoever asks again: records of a run share a few counts."""
    return list(new_draws(count, resamples, seed))


def new_draws(count: int, resamples: int, seed: int) -> Iterator[list[int]]:
    draw = random.Random(seed)
    return (draw.choices(range(count), k=count) for _ in range(resamples))


def mean_interval(values: Sequence[float], *, level: float = LEVEL, anytime: bool = False,
                  resamples: int = 2000) -> tuple[float, float]:
    """Return an interval for the mean that few values do not make too narrow; at least two are needed.

    It is the hull of the percentile bootstrap over the values and of Student's interval: of five normal values the
    first alone covers the mean in 84 % of cases instead of 95. With ``anytime`` Student's is replaced by one
    that may be looked at after every further value (:func:`anytime_half_width`).
    """
    middle, spread = statistics.fmean(values), statistics.stdev(values)
    half = anytime_half_width(len(values), level) if anytime else student_half_width(len(values), level)
    low, high = bootstrap_mean(values, level=level, resamples=resamples)
    return min(low, middle - half * spread), max(high, middle + half * spread)


def bootstrap_mean(values: Sequence[float], *, level: float = LEVEL, resamples: int = 2000,
                   seed: int = 0) -> tuple[float, float]:
    """Return the percentile-bootstrap interval of the mean (Efron 1979); the same values give the same interval."""
    draw = random.Random(seed)
    means = [sum(draw.choices(values, k=len(values))) / len(values) for _ in range(resamples)]
    tail = (1 - level) / 2 * 100
    return percentile(means, tail), percentile(means, 100 - tail)


def student_half_width(count: int, level: float = LEVEL) -> float:
    """Return half the width of Student's interval for the mean of so many values, in standard deviations."""
    low, high = 0.0, 1.0
    while student_within(high, count - 1) < level:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_within(middle, count - 1) < level else (low, middle)
    return high / math.sqrt(count)


def student_within(t: float, freedom: int) -> float:
    """Return the probability that Student's variable is between -t and t (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle, odd = math.atan(t / math.sqrt(freedom)), freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def anytime_half_width(count: int, level: float = LEVEL) -> float:
    """Return half the width of an interval for a mean that holds at every count at once, in standard deviations.

    Whoever looks after every further value and stops when the interval pleases errs with probability 1 - level all
    the same: where a normal sample's t statistic leaves it, the scale-invariant Bayes factor with a normal mixture
    over effect sizes exceeds 1 / (1 - level), which it does ever with no greater probability (Ville's inequality; Lai
    1976; Wang and Ramdas 2024, "Anytime-valid t-tests and confidence sequences").
    """
    share = PRIOR / (count + PRIOR)
    bound = (1 / (math.sqrt(share) * (1 - level))) ** (2 / count)
    if bound * share >= 1:
        return math.inf
    return math.sqrt((count - 1) * (bound - 1) / (1 - bound * share) / count)
