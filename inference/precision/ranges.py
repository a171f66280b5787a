"""From what activations held to the range that eight bits are to cover: rules that look at histograms alone.

Each rule finds a magnitude to clip at; a tensor's range is what it held, cut there on both sides. Zero is always in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from dlcompare.core.errors import UsageError, unknown

from .histograms import Artifact, Observed

LEVELS = 128  # of magnitude, in eight signed bits
PERCENTILE = 99.99
CLIPS = 128  # clips that the rule "mse" tries, evenly spread up to the largest magnitude
SCHEMES = ("u8s8", "s8s8")

Rule = Callable[..., float]


def ranges(artifact: Artifact, rule: str, *, percentile: float = PERCENTILE, scheme: str = "u8s8",
           whole: Collection[str] = ()) -> dict[str, tuple[float, float]]:
    """Return by tensor the lowest and highest value to be told apart.

    ``percentile`` is of magnitudes and for the rule of that name alone; ``scheme`` says whose levels the rule ``mse``
    lays over the range. Tensors of ``whole``, the network's inputs, are never cut: their bounds are the
    preprocessing's, and their background is a spike that ``entropy`` would sacrifice the picture for.

    The rules: ``minmax``, ``entropy``, ``percentile``, ``mse``; see docs/inference.md.

    Raises:
        UsageError: there is no such rule or scheme, or the percentile is not above 0 and at most 100.
    """
    if rule not in RULES:
        raise unknown("calibration rule", rule, RULES)
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    if not 0 < percentile <= 100:
        raise UsageError(f"a percentile is above 0 and at most 100, not {percentile}; usual are 99.9 to 99.999")
    found = {}
    for name, seen in artifact.tensors.items():
        clip = top(seen) if name in whole else RULES[rule](seen, percentile=percentile, scheme=scheme)
        found[name] = (max(min(seen.low, 0.0), -clip), min(max(seen.high, 0.0), clip))
    return found


def magnitudes(seen: Observed) -> np.ndarray:
    """Return the counts of magnitudes, in bins of the same width, up to the last that is not empty."""
    half = len(seen.counts) // 2
    counts = seen.counts[half:] + seen.counts[half - 1::-1]
    return counts[:int(np.flatnonzero(counts)[-1]) + 1] if counts.any() else counts[:0]


def without_zeros(counts: np.ndarray) -> np.ndarray:
    """Return counts of magnitudes with the first bin as full as the second.

    What a ReLU cuts off is exactly zero and costs nothing at any scale, but half of all values would outweigh
    everything that does cost. (NVIDIA's pytorch-quantization does the same.)
    """
    evened = counts.astype(np.float64)
    evened[:1] = evened[1:2] if len(evened) > 1 else evened[:1]
    return evened


def width(seen: Observed) -> float:
    return 2 * seen.limit / len(seen.counts)


def top(seen: Observed) -> float:
    return max(seen.high, -seen.low)


def minmax(seen: Observed, **_: object) -> float:
    """All that was seen."""
    return top(seen)


def percentile_of(seen: Observed, *, percentile: float, **_: object) -> float:
    """The end of the first bin up to which that share of the magnitudes lies."""
    total = np.cumsum(magnitudes(seen))
    if not len(total):
        return 0.0
    return min(top(seen), (int(np.searchsorted(total, total[-1] * (percentile / 100))) + 1) * width(seen))


def entropy(seen: Observed, **_: object) -> float:
    """The clip that loses least information, after S. Migacz, "8-bit Inference with TensorRT", GTC 2017."""
    counts = without_zeros(magnitudes(seen))
    if len(counts) <= LEVELS:
        return top(seen)
    return min(top(seen), (LEVELS + int(np.argmin(divergences(counts)))) * width(seen))


def divergences(counts: np.ndarray) -> np.ndarray:
    """Return, for every number of bins to keep from 128 on, how much eight bits tell less of the values.

    P is what is kept, with all that is beyond put into its last bin; Q what is kept, in 128 levels of (nearly) equal
    width, each spread over its bins that P does not have empty; told is their Kullback-Leibler divergence. All are
    computed at once from running sums: with counts c of P, a level's sum G and number Z of bins, and totals T of P and
    S of Q, KL = sum(c / T * log(c / T)) - sum over levels of (that level's share of P * log(G / Z / S)).
    """
    kept = np.arange(LEVELS, len(counts) + 1)
    sums, filled = running(counts), running(counts > 0)
    total, beyond = sums[-1], sums[-1] - sums[kept]
    edges = -(-np.arange(LEVELS + 1) * kept[:, None] // LEVELS)  # of levels, in bins, rounded up
    level, spread = np.diff(sums[edges], axis=1), np.diff(filled[edges], axis=1)
    last = counts[kept - 1]
    spread[:, -1] += (last == 0) & (beyond > 0)  # what is beyond fills the last bin of P
    share = level.copy()
    share[:, -1] += beyond
    with np.errstate(divide="ignore", invalid="ignore"):
        information = running(xlogx(counts))[kept - 1] + xlogx(last + beyond)
        told = np.where(share > 0, share * np.log(level / spread / sums[kept][:, None]), 0.0).sum(axis=1)
        found = (information - told) / total - np.log(total)
    return np.where(np.isfinite(found), found, np.inf)  # infinite: nothing in the last level, but much beyond it


def running(values: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def xlogx(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values * np.log(np.maximum(values, 1e-300)), 0.0)


def mse(seen: Observed, *, scheme: str, **_: object) -> float:
    """The clip, of 128 evenly spread ones, with the least mean squared error; values are taken as even within a bin.

    From 0 to x the squared error of rounding to multiples of s integrates to n * s^3 / 12 + r^3 / 3, with n the nearest
    multiple and r the rest; beyond a clip c it is (x - c)^3 / 3 more.
    """
    counts = without_zeros(magnitudes(seen))
    if top(seen) == 0:
        return 0.0
    edges = np.arange(len(counts) + 1) * width(seen)
    clips = top(seen) * np.arange(1, CLIPS + 1)[:, None] / CLIPS
    steps = step(np.maximum(min(seen.low, 0.0), -clips), np.minimum(max(seen.high, 0.0), clips), scheme)
    inner = np.minimum(edges, clips)
    whole = np.rint(inner / steps)
    rest = inner - whole * steps
    area = whole * steps**3 / 12 + (rest**3 + (edges - inner) ** 3) / 3
    return float(clips[np.argmin(np.diff(area, axis=1) @ counts), 0])


def step(low: Any, high: Any, scheme: str) -> Any:
    """Return how far apart a scheme's levels are over a range about zero."""
    if scheme == "s8s8":
        return np.maximum(high, -low) / 127
    return (high - low) / 255


RULES: Mapping[str, Rule] = {"minmax": minmax, "entropy": entropy, "percentile": percentile_of, "mse": mse}
