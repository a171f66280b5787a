"""The outlines and textures that the dataset ``shapes`` is made of, as functions of the point, in exact arithmetic.

An outline is a gauge: 0 in the middle, growing evenly outwards, below 1 inside. A texture is 1 where the shape is seen
and 0 where the background shows through. x, y and the results are float32 (n, h, w); the shape has a radius near 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np


def normals(sides: int) -> list[tuple[np.float32, np.float32]]:
    """Return the outward normals of a regular polygon; rounded, since the C library decides a cosine's last bit."""
    angles = [2 * math.pi * side / sides for side in range(sides)]
    return [(np.float32(round(math.cos(a), 6)), np.float32(round(math.sin(a), 6))) for a in angles]


def distances(x: np.ndarray, y: np.ndarray, *, sides: int) -> list[np.ndarray]:
    return [x * nx + y * ny for nx, ny in normals(sides)]


def polygon(sides: int, scale: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def gauge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        out, *others = distances(x, y, sides=sides)
        for other in others:
            np.maximum(out, other, out=out)
        return out * np.float32(scale)
    return gauge


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pentagram: inside at least four of the pentagon's five sides, so the second largest distance counts."""
    first, *others = distances(x, y, sides=5)
    second = np.full_like(first, -np.inf)
    for other in others:
        np.maximum(second, np.minimum(first, other), out=second)
        np.maximum(first, other, out=first)
    return second * np.float32(1.934)


def bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y) * np.float32(3)) * np.float32(0.651)


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    return np.maximum(long, short * np.float32(3)) * np.float32(0.841)


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def oval(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return disc(x, y * np.float32(2)) * np.float32(0.707)


def half_disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(disc(x, y), x * np.float32(-5)) * np.float32(0.79)


def wave(value: np.ndarray) -> np.ndarray:
    """Return 1 and 0 in turns, two turns to each 1 of value, with short slopes between."""
    return np.clip(np.abs(value - np.floor(value) - np.float32(0.5)) * 8 - np.float32(1.5), 0, 1)


def solid(x: np.ndarray, y: np.ndarray, gauge: np.ndarray) -> np.ndarray:
    return np.ones_like(gauge)


def hollow(x: np.ndarray, y: np.ndarray, gauge: np.ndarray) -> np.ndarray:
    return np.clip((gauge - np.float32(0.6)) * 6 + np.float32(0.5), 0, 1)


def striped(x: np.ndarray, y: np.ndarray, gauge: np.ndarray) -> np.ndarray:
    return wave(y * np.float32(1.5))


def checked(x: np.ndarray, y: np.ndarray, gauge: np.ndarray) -> np.ndarray:
    return np.abs(wave(x * np.float32(0.8)) - wave(y * np.float32(0.8) + np.float32(0.25)))


# the numbers in the outlines above and here give each the area of the disc
KINDS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": disc, "triangle": polygon(3, 1.286), "square": polygon(4, 1.128), "star": star, "cross": cross,
    "bar": bar, "half disc": half_disc, "oval": oval}
TEXTURES: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "solid": solid, "hollow": hollow, "striped": striped, "checked": checked}
