"""Statistics of raw windows, and the plain sentences that warn when a result may be unstable.

Standard library alone: the parent folds records while nothing else should load, and SciPy would weigh 40 MB there.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeGuard

SPREAD = 0.05  # interquartile range over median
DRIFT = 0.05  # last third of the windows against the first
TREND = 0.02  # a strictly monotone series that moves less is not worth a sentence
STALL = 0.05  # share of a window spent waiting for input
LEAST_WINDOWS = 5
LEAST_SECONDS = 5.0
LEVEL = 0.95
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
    draw = random.Random(seed)
    medians = [statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples)]
    tail = (1 - level) / 2 * 100
    return percentile(medians, tail), percentile(medians, 100 - tail)


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


def spread_warning(rates: Sequence[float]) -> str | None:
    """Return a sentence when the windows' throughputs scatter."""
    spread = iqr(rates) / median(rates)
    if spread <= SPREAD:
        return None
    return (f"throughput varies between windows: the interquartile range is {100 * spread:.1f} % of the median "
            f"(above {100 * SPREAD:g} %); look for other load or take more windows")


def drift_warning(rates: Sequence[float]) -> str | None:
    """Return a sentence when throughput moves in one direction while it is measured."""
    third = len(rates) // 3
    if third >= 2:
        change = median(rates[-third:]) / median(rates[:third]) - 1
        if abs(change) > DRIFT:
            return (f"throughput drifts: the last {third} windows are {100 * change:+.1f} % against the first {third} "
                    f"(beyond {100 * DRIFT:g} %); the machine may be throttling or still warming up")
    change = rates[-1] / rates[0] - 1
    steady = len({later > earlier for earlier, later in pairwise(rates)}) == 1 and len(set(rates)) == len(rates)
    if len(rates) >= LEAST_WINDOWS and steady and abs(change) > TREND:
        return (f"throughput moves one way through all {len(rates)} windows, {100 * change:+.1f} % from first to last; "
                "the machine may be throttling or still warming up")
    return None


def short_warning(seconds: Sequence[float]) -> str | None:
    """Return a sentence when too little was measured; ``seconds`` is the length of each window."""
    count, total = len(seconds), sum(seconds)
    if count >= LEAST_WINDOWS and total >= LEAST_SECONDS:
        return None
    return (f"short measurement: {count} window{'s' * (count != 1)} of {total:.2f} s in all, where at least "
            f"{LEAST_WINDOWS} windows and {LEAST_SECONDS:g} s make an interval worth reading; "
            "raise --windows or --steps")


def stall_warning(seconds: Sequence[float], waited: Sequence[float]) -> str | None:
    """Return a sentence when training waited for input; both are seconds, one value a window."""
    shares = [wait / length for wait, length in zip(waited, seconds, strict=True)]
    stalled = [share for share in shares if share > STALL]
    if not stalled:
        return None
    return (f"input was too slow: in {len(stalled)} of {len(shares)} windows training waited for it more than "
            f"{100 * STALL:g} % of the time (up to {100 * max(stalled):.0f} %), so this is not the framework's speed "
            "alone")


def warmup_warning(steps: Sequence[float], *, settled: bool) -> str | None:
    """Return a sentence when measuring began before step time had settled; ``steps`` are warm-up seconds per step."""
    if settled:
        return None
    tail = ", ".join(f"{seconds:.3g}" for seconds in steps[-3:]) or "none"
    return (f"step time had not settled after {len(steps)} warm-up steps (the last took {tail} s); "
            "early windows may be slow")


def loss_warning(losses: Sequence[tuple[int, float | None]]) -> str | None:
    """Return a sentence when a loss of the series (step, loss) is not a finite number."""
    bad = [step for step, loss in losses if not is_finite(loss)]
    if not bad:
        return None
    return (f"the loss is not finite at step {bad[0]} ({len(bad)} of {len(losses)} recorded): training diverged, "
            "so its speed means nothing; lower --lr or warm it up")
