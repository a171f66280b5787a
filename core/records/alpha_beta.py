"""Time of a message by its size: t = alpha + bytes * beta, fitted to medians so that every size counts alike.

Relative least squares: minimises the sum of ((alpha + bytes * beta - t) / t) ** 2 (Hockney 1994's two parameters).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .stats import median, percentile

LEAST_SIZES = 3  # two points always lie on a line
POOR = 0.25  # a size whose time the line misses by more is not described by it
RESAMPLES = 1000

Points = Mapping[int, float]


@dataclass(frozen=True)
class AlphaBeta:
    """``alpha`` in seconds and ``beta`` in seconds a byte, with 95 % intervals, and predicted over measured by size.

    The intervals come of resampled calls: they cover what chance did to the medians, not that a line may be the wrong
    curve. That is in the ``residuals``, whose ``worst`` is the largest distance from 1.
    """

    alpha: float
    alpha_low: float
    alpha_high: float
    beta: float
    beta_low: float
    beta_high: float
    residuals: dict[str, float]  # by bytes, as text, for so JSON has it
    worst: float

    @property
    def poor(self) -> bool:
        """Return whether some size lies so far from the line that it should not be predicted by."""
        return self.worst > POOR

    def seconds(self, size: int) -> float:
        """Return the time of a message of so many bytes by the line."""
        return self.alpha + size * self.beta


def resampled_medians(values: Sequence[float], draw: random.Random, count: int = RESAMPLES) -> list[float]:
    """Return medians of bootstrap resamples, drawn at once: of so many uniform draws the k-th is a beta variable, and
    the next one, of those above it, the least.
    """
    ordered, size = sorted(values), len(values)
    middle = (size + 1) // 2
    found = []
    for _ in range(count):
        low = high = draw.betavariate(middle, size + 1 - middle)
        if size % 2 == 0:
            high += (1 - low) * draw.betavariate(1, size - middle)
        found.append(sum(ordered[min(size - 1, int(size * one))] for one in (low, high)) / 2)
    return found


def fit(seconds: Mapping[int, Sequence[float]]) -> AlphaBeta | None:
    """Return the line through the medians of calls by size; None of fewer than three sizes."""
    if len(seconds) < LEAST_SIZES:
        return None
    points = {size: median(times) for size, times in seconds.items()}
    alpha, beta = line(points)
    draw = random.Random(0)
    drawn = {size: resampled_medians(times, draw) for size, times in seconds.items()}
    lines = [line({size: times[number] for size, times in drawn.items()}) for number in range(RESAMPLES)]
    alphas, betas = zip(*lines, strict=True)
    residuals = {str(size): (alpha + size * beta) / time for size, time in points.items()}
    return AlphaBeta(alpha, percentile(alphas, 2.5), percentile(alphas, 97.5),
                     beta, percentile(betas, 2.5), percentile(betas, 97.5),
                     residuals, max(abs(one - 1) for one in residuals.values()))


def line(points: Points) -> tuple[float, float]:
    """Return alpha and beta of some times by size, neither below 0."""
    ones, sizes = [1 / time for time in points.values()], [size / time for size, time in points.items()]
    aa, ab, bb = (sum(x * y for x, y in zip(p, q, strict=True)) for p, q in ((ones, ones), (ones, sizes),
                                                                            (sizes, sizes)))
    a, b = sum(ones), sum(sizes)
    determinant = aa * bb - ab * ab
    alpha, beta = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
    if alpha < 0:
        return 0.0, b / bb
    return (alpha, beta) if beta >= 0 else (a / aa, 0.0)
