"""Random numbers that are the same under every NumPy.

NumPy guarantees for ever which integers PCG64 yields for a seed, but not what a ``Generator`` makes of them (NEP 19).
So everything drawn here starts from the integers, and is made from them by exact arithmetic.
"""

from __future__ import annotations

import numpy as np

from dlcompare.core.errors import UsageError

ORDER, AUGMENT, SYNTHETIC, SHAPES = range(4)  # the first element of a key: what the numbers are for


def raw(count: int, *, seed: int, key: tuple[int, ...]) -> np.ndarray:
    """Return ``count`` uint64 drawn from the stream that seed and key name; different keys give independent streams."""
    if seed < 0:
        raise UsageError(f"seed must be 0 or greater, not {seed}")
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)).random_raw(count)


def uniform(count: int, *, seed: int, key: tuple[int, ...]) -> np.ndarray:
    """Return ``count`` float64 in [0, 1): the upper 53 bits of each integer."""
    return (raw(count, seed=seed, key=key) >> np.uint64(11)) * 2.0**-53


def normal(count: int, *, seed: int, key: tuple[int, ...]) -> np.ndarray:
    """Return ``count`` float32 of mean 0 and variance 1, bell-shaped within 3.47."""
    return bell(raw(count, seed=seed, key=key))


def bell(integers: np.ndarray) -> np.ndarray:
    """Return a float32 of mean 0 and variance 1 for each uint64, bell-shaped within 3.47.

    Each is the sum of the four 16-bit parts of one integer (Irwin-Hall), because logarithms and cosines differ in
    the last bit between builds of NumPy and sums of integers do not.
    """
    parts = integers.view(np.uint16).reshape(len(integers), 4).astype(np.float32)
    total = parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3]  # below 2**24, so exact in float32
    return (total - np.float32(2 * 0xFFFF)) * np.float32((3 / (65536**2 - 1)) ** 0.5)
