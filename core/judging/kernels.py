"""Of the gap between two frameworks: what their layers' own time makes of it, and what their steps cost beyond that.

Each layer of the network is timed alone in both. The gap of whole steps is then a product: that of the slower's step to
one whose layers took as long as the faster's (``factor``), and of that to the faster's step (``rest``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlcompare.core.records.stats import median

from .factor import Factor, factor


@dataclass(frozen=True)
class LayerTime:
    """The seconds that all layers like one take in a step, ``count`` of them; ``about`` says what such a layer does."""

    name: str
    about: str
    count: int
    seconds: float


@dataclass(frozen=True)
class Breakdown:
    """The seconds of a whole step, and of its layers alone."""

    whole: float
    layers: tuple[LayerTime, ...]

    @property
    def inside(self) -> float:
        """Return the seconds of all layers."""
        return sum(one.seconds for one in self.layers)

    @property
    def beyond(self) -> float:
        """Return what the whole step costs beyond its layers; below 0 where a framework does several at once."""
        return self.whole - self.inside


@dataclass(frozen=True)
class LayerGap:
    """A layer in both frameworks, seconds a step in the median over rounds, and its ``share`` of the difference."""

    name: str
    about: str
    count: int
    slow: float
    fast: float
    share: float


@dataclass(frozen=True)
class Kernels:
    """The gap of whole steps, the factor that layers make of it, the rest, and the layers that differ most."""

    slow: str
    fast: str
    rounds: int
    run: str  # whose records hold what was timed
    gap: Factor
    factor: Factor
    rest: Factor
    layers: tuple[LayerGap, ...]


def kernels(slow: str, fast: str, slows: Mapping[int, Breakdown], fasts: Mapping[int, Breakdown], *,
            run: str) -> Kernels | str:
    """Return what layers make of a gap, from breakdowns by round; or in a sentence why that cannot be told."""
    rounds = sorted(slows.keys() & fasts.keys())
    if len(rounds) < 2:
        return f"too few rounds in which the layers of both {slow} and {fast} were timed ({len(rounds)})"
    pairs = [(slows[number], fasts[number]) for number in rounds]
    if any(two.inside + one.beyond <= 0 for one, two in pairs):
        return (f"alone, the layers of {slow} took longer than its whole step with those of {fast} would: they cannot "
                "be told from the rest")
    made = [math.log(one.whole / (two.inside + one.beyond)) for one, two in pairs]
    gap = [math.log(one.whole / two.whole) for one, two in pairs]
    whole = sum(gap) / len(gap)
    return Kernels(slow, fast, len(rounds), run, factor(gap, whole), factor(made, whole),
                   factor([all_ - part for all_, part in zip(gap, made, strict=True)], whole), layer_gaps(pairs))


def layer_gaps(pairs: Sequence[tuple[Breakdown, Breakdown]]) -> tuple[LayerGap, ...]:
    """Return each layer in both frameworks, the largest difference first."""
    difference = median([one.whole - two.whole for one, two in pairs])
    found = []
    for number, layer in enumerate(pairs[0][0].layers):
        slow, fast = (median([pair[side].layers[number].seconds for pair in pairs]) for side in (0, 1))
        found.append(LayerGap(layer.name, layer.about, layer.count, slow, fast,
                              (slow - fast) / difference if difference else 0.0))
    return tuple(sorted(found, key=lambda one: one.fast - one.slow))
