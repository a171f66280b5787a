"""Generated images of shapes: as many as wanted, of any size, and as hard as wanted, so that small losses show.

``--data shapes`` or ``--data shapes:KEY=VALUE,...``:

    classes   2 to 32, by default 20: class c is kind c // 4 of KINDS filled with texture c % 4 of TEXTURES
    blend     0 to 1, by default 0.75: how much of another class may be mixed into an image
    noise     0 to 10, by default 0.2: standard deviation of the noise added to each pixel of each channel
    train     number of training images, by default 50000
    test      number of test images, by default 20000

An image is one shape on a background that shades from one side to the other, and three small discs over it. Random are
place, size, rotation (up to 45 degrees either way), shading, colours (the shape's brighter than the background) and
the discs. Noise apart, pixels have a mean near 0.2 and a standard deviation near 0.6.

What cannot be learnt is known. Each image is a morph between its class and a rival, drawn uniformly among the others:
outline and texture are (1 - t) of the one and t of the other, with t = blend * |u - v| for uniform u and v. A morph at
t is as likely to come from the rival at 1 - t, so from t = 0.5 on the rival is the better guess, and no classifier can
expect to be right more often than 1 - max(0, 1 - 0.5 / blend) ** 2: see ``ceiling``. Noise costs some more.

Sample i of a split has label i modulo the number of classes and is a function of the seed, the split and i (and the
options); its bits are the same under every NumPy, because it is made of PCG64's integers by elementwise arithmetic and
square roots, which IEEE 754 rounds one way only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dlcompare.core.data import Dataset
from dlcompare.core.data.images.fit import image_and_label
from dlcompare.core.data.streams import SHAPES, bell, raw
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from .outlines import KINDS, TEXTURES

SPOTS = 3  # small discs over the shape
PIXELS = 1 << 16  # of the images drawn together: what fits a core's cache


@dataclass(frozen=True)
class Options:
    """What follows ``shapes:``; the module's docstring says what each means."""

    classes: int = 20
    blend: float = 0.75
    noise: float = 0.2
    train: int = 50000
    test: int = 20000


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Raise UsageError for a wrong argument, or a model that reads anything but an image and a label of its classes."""
    image_and_label(inputs, dataset="shapes", classes=parse(argument).classes)


def classes(argument: str) -> int:
    return parse(argument).classes


def size(argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many images there are to train with."""
    return parse(argument).train


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> Shapes:
    """Return the training or the test split; the number of loaders does not matter."""
    check(argument, inputs)
    return Shapes(parse(argument), inputs, seed=seed, train=train)


def parse(argument: str) -> Options:
    """Return the options that ``KEY=VALUE,...`` gives; UsageError names what is wrong and what is allowed."""
    allowed = {"classes": (2, len(KINDS) * len(TEXTURES)), "blend": (0, 1), "noise": (0, 10),
               "train": (1, 1 << 40), "test": (1, 1 << 40)}
    defaults = {field.name: field.default for field in fields(Options)}
    given: dict[str, Any] = {}
    for part in argument.split(",") if argument else ():
        key, _, text = part.partition("=")
        if key not in allowed:
            raise UsageError(f"dataset 'shapes' has no option {key!r}; it has: {', '.join(allowed)}; "
                             "write for example --data shapes:noise=0.2,classes=20")
        if key in given:
            raise UsageError(f"dataset 'shapes' got {key!r} twice in {argument!r}; give it once")
        given[key] = number(text, key=key, kind=type(defaults[key]), limits=allowed[key])
    return Options(**given)


def number(text: str, *, key: str, kind: type, limits: tuple[int, int]) -> Any:
    """Return the text as an int or a float within the limits, both included."""
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not limits[0] <= value <= limits[1]:
        name = "a whole number" if kind is int else "a number"
        raise UsageError(f"dataset 'shapes': {key} must be {name} from {limits[0]} to {limits[1]}, not {text!r}")
    return value


def ceiling(blend: float) -> float:
    """Return the share of labels that the best classifier would find if there were no noise."""
    return 1 - max(0.0, 1 - 0.5 / blend) ** 2 if blend else 1.0


class Shapes(Dataset):
    """One split. Images are drawn when they are asked for; nothing is kept."""

    def __init__(self, options: Options, inputs: Mapping[str, Input], *, seed: int, train: bool) -> None:
        self._image, self._label = image_and_label(inputs, dataset="shapes", classes=options.classes)
        self._inputs = inputs
        self._options = options
        self._seed = seed
        self._split = int(train)
        self.size = options.train if train else options.test
        self._y, self._x = grid(*inputs[self._image].shape[1:])

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        spec = self._inputs[self._image]
        image = np.empty((len(indices), *spec.shape), spec.dtype)
        labels = np.asarray(indices) % self._options.classes
        step = max(1, PIXELS // math.prod(spec.shape[1:]))
        for begin in range(0, len(indices), step):
            part = slice(begin, begin + step)
            image[part] = self._draw(indices[part], labels[part])
        return {self._image: image, self._label: labels.astype(self._inputs[self._label].dtype)}

    def _draw(self, indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return images, float32 (n, channels, h, w)."""
        shape = self._inputs[self._image].shape
        count = Draws.count(shape[0])
        values = np.empty((len(indices), count))
        image = np.zeros((len(indices), *shape), np.float32)
        pixels = math.prod(shape) if self._options.noise else 0
        for row, index in enumerate(indices):
            integers = raw(count + pixels, seed=self._seed, key=(SHAPES, self._split, int(index)))
            values[row] = (integers[:count] >> np.uint64(11)) * 2.0**-53
            if pixels:
                image[row] = bell(integers[count:]).reshape(shape)
        image *= np.float32(self._options.noise)
        draws = Draws(values)
        self._add_background(image, draws)
        self._blend_over(image, self._shape(draws, labels), draws.colours(shape[0], low=0.6, high=2.2))
        for _ in range(SPOTS):
            self._blend_over(image, self._spot(draws), draws.colours(shape[0], low=-1.5, high=1.5))
        return image

    def _add_background(self, image: np.ndarray, draws: Draws) -> None:
        slope_x, slope_y = draws.within(-0.4, 0.4), draws.within(-0.4, 0.4)
        image += (self._x * slope_x + self._y * slope_y)[:, None]

    @staticmethod
    def _blend_over(image: np.ndarray, alpha: np.ndarray, colours: list[np.ndarray]) -> None:
        """Add each channel's contrast where alpha (n, h, w) is 1: what is below, noise included, shines through."""
        for channel, contrast in enumerate(colours):
            image[:, channel] += alpha * contrast

    def _spot(self, draws: Draws) -> np.ndarray:
        x, y = self._x - draws.within(-1, 1), self._y - draws.within(-1, 1)
        radius = draws.within(0.06, 0.14)
        return coverage(np.sqrt(x * x + y * y) / radius, radius / self._pixel)

    def _shape(self, draws: Draws, labels: np.ndarray) -> np.ndarray:
        """Return how much of each pixel the shape covers, (n, h, w)."""
        classes = self._options.classes
        rivals = (labels + 1 + (draws.flat() * (classes - 1)).astype(np.int64)) % classes
        share = np.abs(draws.within(0, 1) - draws.within(0, 1)) * np.float32(self._options.blend)
        radius = draws.within(0.45, 0.65)
        x, y = draws.turned(self._x - draws.within(-1, 1) * (np.float32(0.85) - radius),
                            self._y - draws.within(-1, 1) * (np.float32(0.85) - radius))
        x, y = x / radius, y / radius
        gauge = mixed(KINDS, labels // len(TEXTURES), rivals // len(TEXTURES), share, (x, y))
        texture = mixed(TEXTURES, labels % len(TEXTURES), rivals % len(TEXTURES), share, (x, y, gauge))
        return coverage(gauge, radius / self._pixel) * texture

    @property
    def _pixel(self) -> np.float32:
        """The size of a pixel where the image's shorter side is 2."""
        return np.float32(2 / min(self._inputs[self._image].shape[1:]))


class Draws:
    """The uniform numbers of some samples, (n, count), handed out one column after another, as (n, 1, 1) float32."""

    def __init__(self, values: np.ndarray) -> None:
        self._columns = iter(values.T)

    @staticmethod
    def count(channels: int) -> int:
        """Return how many numbers one sample takes: background, shape, spots, and the colours of shape and spots."""
        return 2 + 8 + SPOTS * 3 + (1 + SPOTS) * channels

    def flat(self) -> np.ndarray:
        return next(self._columns)

    def within(self, low: float, high: float) -> np.ndarray:
        return (low + (high - low) * self.flat()).astype(np.float32)[:, None, None]

    def colours(self, channels: int, *, low: float, high: float) -> list[np.ndarray]:
        """Return a contrast with what is below for each channel."""
        return [self.within(low, high) for _ in range(channels)]

    def turned(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y turned by up to 45 degrees either way, without a sine: a rational point on the circle."""
        u = self.within(-0.414, 0.414)
        square = u * u
        cosine = (1 - square) / (1 + square)
        sine = (u + u) / (1 + square)
        return cosine * x - sine * y, sine * x + cosine * y


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the y and x of pixel centres, (1, h, 1) and (1, 1, w); the shorter side runs from -1 to 1."""
    scale = 2 / min(height, width)
    y, x = (((np.arange(size) - (size - 1) / 2) * scale).astype(np.float32) for size in (height, width))
    return y[None, :, None], x[None, None, :]


def coverage(gauge: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return 1 where the gauge is below 1, 0 above, and a slope one pixel wide between."""
    return np.clip((1 - gauge) * pixels + np.float32(0.5), 0, 1)


def mixed(table: Mapping[str, Callable[..., np.ndarray]], first: np.ndarray, second: np.ndarray, share: np.ndarray,
          arguments: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return (1 - share) of the first and share of the second function of the table, chosen row by row."""
    out = np.zeros_like(arguments[0])
    for place, function in enumerate(table.values()):
        for chosen, weight in ((first, 1 - share), (second, share)):
            rows = np.flatnonzero(chosen == place)
            if len(rows):
                out[rows] += function(*(array[rows] for array in arguments)) * weight[rows]
    return out
