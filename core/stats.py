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
