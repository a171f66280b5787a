"""Real handwritten digits, small enough to ship: 1797 grey images of 8 x 8 pixels valued 0 to 16, in ten classes.

Source: the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, licensed CC BY 4.0; in the order and form of scikit-learn's ``load_digits``.

Split: with the images sorted by label (stable), every fifth, from the first on, is for testing: 1437 train and 360
test, each class in proportion. Both keep the original order.

All arithmetic is elementwise, so the pixels are the same bits under every NumPy: records hold a hash of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcompare.core.data import Dataset
from dlcompare.core.graph import Input

from .fit import image_and_label, no_argument

CLASSES = 10
PIXEL_MEAN = 4.8921  # of the training split, in units of the stored pixels
PIXEL_STD = 6.0195


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Raise UsageError if there is an argument, or the model reads anything but an image and a label of 10 classes."""
    no_argument(argument, dataset="digits")
    image_and_label(inputs, dataset="digits", classes=CLASSES)


def classes(argument: str) -> int:
    return CLASSES


def size(argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many images there are to train with."""
    return len(split(load()[1], train=True))


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> Digits:
    """Return the training or the test split; neither the seed nor the number of loaders matters."""
    check(argument, inputs)
    return Digits(inputs, train=train)


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return all images, uint8 (1797, 8, 8), and labels, uint8 (1797,)."""
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        return file["images"], file["labels"]


def split(labels: np.ndarray, *, train: bool) -> np.ndarray:
    """Return the indices of the training or the test split, ascending."""
    test = np.zeros(len(labels), dtype=bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    return np.flatnonzero(~test if train else test)


class Digits(Dataset):
    """One split, resized bilinearly (half-pixel centres) to the model's image, the same in every channel.

    Shrinking below 8 x 8 samples without antialiasing. Pixels have mean 0 and variance 1 over the training split.
    """

    def __init__(self, inputs: Mapping[str, Input], *, train: bool) -> None:
        self._image, self._label = image_and_label(inputs, dataset="digits", classes=CLASSES)
        self._specs = inputs
        images, labels = load()
        chosen = split(labels, train=train)
        self._labels = labels[chosen].astype(inputs[self._label].dtype)
        # interpolation is affine: normalising 64 pixels beforehand equals normalising 50176 afterwards
        self._pixels = (images[chosen].astype(np.float32) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
        self._rows, self._columns = (taps(8, size) for size in inputs[self._image].shape[1:])
        self.size = len(chosen)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        grey = bilinear(self._pixels[indices], rows=self._rows, columns=self._columns)
        spec = self._specs[self._image]
        image = np.empty((len(indices), *spec.shape), dtype=spec.dtype)
        image[:] = grey[:, None]
        return {self._image: image, self._label: self._labels[indices]}


class Taps(NamedTuple):
    """For each output pixel of one axis: the two input pixels it lies between, and the upper one's weight."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray  # float32


def taps(source: int, target: int) -> Taps:
    """Return where the centres of ``target`` pixels fall among ``source`` pixels; outside, the edge goes on."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(place).astype(np.int64)
    return Taps(low, np.minimum(low + 1, source - 1), (place - low).astype(np.float32))


def bilinear(images: np.ndarray, *, rows: Taps, columns: Taps) -> np.ndarray:
    """Return (n, h, w) images resized to (n, len(rows), len(columns)), float32."""
    wide = blend(images[:, :, columns.low], images[:, :, columns.high], columns.weight)
    return blend(wide[:, rows.low], wide[:, rows.high], rows.weight[:, None])


def blend(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return low + (high - low) * weight, computed in ``high``."""
    high -= low
    high *= weight
    high += low
    return high
