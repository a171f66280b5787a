"""A factor of a gap: what ratios by round amount to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dlcompare.core.records import stats


@dataclass(frozen=True)
class Factor:
    """A factor of the gap with its 95 % interval; ``share`` of the gap, in logarithms: the shares add up to 1."""

    ratio: float
    low: float
    high: float
    share: float


def factor(values: Sequence[float], whole: float) -> Factor:
    """Return the factor that logarithms by round amount to, of a whole gap."""
    low, high = stats.mean_interval(values)
    middle = statistics.fmean(values)
    return Factor(math.exp(middle), math.exp(low), math.exp(high), middle / whole if whole else 0.0)
