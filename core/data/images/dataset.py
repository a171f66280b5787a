"""Encoded images as a dataset, files or records of shards: decoded, cut, augmented and normalised in one way."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.data import Dataset, Looked, deaf
from dlcompare.core.data.view import MEAN, STD
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from .fit import image_and_label
from .listing import Listing
from .loaders import Loaders

CHUNK = 4  # samples per request: small enough to share a batch of 8 among loaders, large enough to hide the request


def input_names(inputs: Mapping[str, Input], found: Listing, *, dataset: str) -> tuple[str, str]:
    """Return the names of the image and the label input; UsageError if these images and labels do not fit them."""
    image, label = image_and_label(inputs, dataset=dataset, classes=found.classes)
    if inputs[image].shape[0] != 3:
        raise UsageError(f"dataset {dataset!r} gives 3 channels, but this model reads {inputs[image].shape[0]}; "
                         "use --data digits or --data synthetic")
    return image, label


def bad_images(root: Path, splits: Sequence[Listing], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return why images of some splits cannot be read, by name, as far as so many seconds go; all, and as it was found
    the last time if no file has changed, if they are without end.

    Raises:
        UsageError: of a split not one can be read, or all deep ones are next to black.
    """
    from .scan import damaged, remembered

    places = {name: found.place(row) for found in splits for row, name in enumerate(found.names)}
    bad = (remembered(root, places, looked=looked) if math.isinf(seconds) else
           damaged(places, seconds=seconds, looked=looked))
    for found in splits:
        if bad.keys() >= set(found.names):
            first = found.names[0]
            raise UsageError(f"none of {len(found.names)} images can be read, such as {root / first}: {bad[first]}")
    return bad


class Images(Dataset):
    """One split of encoded images; pixels are (x / 255 - MEAN) / STD.

    ``dataset`` is what errors call it; ``augment``: read as training does, with random crops and flips.
    """

    def __init__(self, inputs: Mapping[str, Input], found: Listing, *, dataset: str, seed: int, augment: bool,
                 loaders: int, view: Mapping[str, Any]) -> None:
        self._like = partial(Images, inputs, dataset=dataset, seed=seed, loaders=loaders, view=view)
        self._image, self._label = input_names(inputs, found, dataset=dataset)
        self._specs, self._found, self._augment = inputs, found, augment
        self._labels = np.array(found.labels, dtype=np.int64)
        self._loaders = Loaders(loaders, settings={"size": inputs[self._image].shape[1:], "seed": seed,
                                                   "train": augment, **view})
        self.names, self.size = found.names, len(found.names)
        self.passed_over, self.one_split = found.passed_over, found.one_split

    def without(self, names: Collection[str]) -> Images:
        return self._like(self._found.without(names), augment=self._augment) if names else self

    def file(self, index: int) -> Path:
        return self._found.file(index)

    def unaugmented(self) -> Images:
        return self._like(self._found, augment=False)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        pixels = np.empty((len(indices), *self._specs[self._image].shape), dtype=np.uint8)
        parts = [slice(start, start + CHUNK) for start in range(0, len(indices), CHUNK)]
        for part in [self._submit(indices[part], epoch=epoch, out=pixels[part]) for part in parts]:
            part.result()
        image = normalise(pixels).astype(self._specs[self._image].dtype, copy=False)
        return {self._image: image, self._label: self._labels[indices].astype(self._specs[self._label].dtype)}

    def close(self) -> None:
        self._loaders.close()

    def _submit(self, indices: np.ndarray, *, epoch: int, out: np.ndarray) -> Future[None]:
        samples = [(self._found.place(i), int(i)) for i in indices]
        return self._loaders.submit(samples, epoch=epoch, out=out)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Return (n, 3, h, w) bytes as float32 with ImageNet's mean and deviation taken out."""
    scale = np.array([1 / (255 * std) for std in STD], dtype=np.float32)
    shift = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], dtype=np.float32)
    image = pixels * scale[:, None, None]
    image += shift[:, None, None]
    return image
