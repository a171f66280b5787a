"""Images from a folder in ImageNet's layout (see ``listing``).

A class's number is its folder's place among the sorted training class folders; samples are in sorted order, class by
class. The views are torchvision's reference recipe (see ``decode``). Randomness is a function of seed, epoch and sample
only, whatever the framework, the rank and the number of loader processes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.data import Dataset, Looked, deaf
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from .fit import image_and_label
from .listing import Listing, class_names, listing, root_folder, split_folder, splits
from .loaders import Loaders

CHUNK = 4  # samples per request: small enough to share a batch of 8 among loaders, large enough to hide the request
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, by channel, for pixels from 0 to 1
STD = (0.229, 0.224, 0.225)


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Look at file names only, and raise UsageError for what would fail later.

    That is: no such folder, no class folders, an empty one, a class that only val has, more classes than the model
    tells apart, a model that does not read one RGB image and one label.
    """
    for found in listings(root_folder(argument)):
        input_names(inputs, found)


def scan(argument: str, inputs: Mapping[str, Input], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return why images of any split cannot be read, by name below the folder, as far as so many seconds go; ``looked``
    hears how many were looked at, and of how many.

    Raises:
        UsageError: of a split not one can be read, or all deep ones are next to black.
    """
    from .scan import damaged, remembered

    root = root_folder(argument)
    there = listings(root)
    names = [name for found in there for name in found.names]
    bad = (remembered(root, names, looked=looked) if math.isinf(seconds) else
           damaged(root, names, seconds=seconds, looked=looked))
    for found in there:
        if bad.keys() >= set(found.names):
            first = found.names[0]
            raise UsageError(f"none of {len(found.names)} images can be read, such as {root / first}: {bad[first]}")
    return bad


def classes(argument: str) -> int:
    """Return how many class folders there are to train with."""
    return len(class_names(split_folder(root_folder(argument), train=True)))


def size(argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many images there are to train with, less those of some names."""
    return len(listing(root_folder(argument), train=True).without(without).names)


def listings(root: Path) -> list[Listing]:
    """Return what each split there is holds."""
    return [listing(root, train=train) for train in splits(root) or (True,)]


def input_names(inputs: Mapping[str, Input], found: Listing) -> tuple[str, str]:
    """Return the names of the image and the label input; UsageError if these images and labels do not fit them."""
    image, label = image_and_label(inputs, dataset="imagefolder", classes=found.classes)
    if inputs[image].shape[0] != 3:
        raise UsageError(f"dataset 'imagefolder' gives 3 channels, but this model reads {inputs[image].shape[0]}; "
                         "use --data digits or --data synthetic")
    return image, label


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int,
                 **view: Any) -> ImageFolder:
    """Return the training or the evaluation split, decoded by ``loaders`` processes; errors as ``check``.

    ``view`` says how evaluation cuts images, if not in the usual way: ``crop`` and ``resize`` of ``Preprocessing``.
    """
    root = root_folder(argument)
    return ImageFolder(root, inputs, listing(root, train=train), seed=seed, augment=train, loaders=loaders, view=view)


class ImageFolder(Dataset):
    """One split of an image folder; pixels are (x / 255 - MEAN) / STD.

    ``augment``: read as training does, with random crops and flips.
    """

    def __init__(self, root: Path, inputs: Mapping[str, Input], found: Listing, *, seed: int, augment: bool,
                 loaders: int, view: Mapping[str, Any]) -> None:
        self._like = partial(ImageFolder, root, inputs, seed=seed, loaders=loaders, view=view)
        self._image, self._label = input_names(inputs, found)
        self._specs, self._root, self._found, self._augment = inputs, root, found, augment
        self._labels = np.array(found.labels, dtype=np.int64)
        self._loaders = Loaders(loaders, settings={"size": inputs[self._image].shape[1:], "seed": seed,
                                                   "train": augment, **view})
        self.names, self.size = found.names, len(found.names)
        self.passed_over, self.one_split = found.passed_over, found.one_split

    def without(self, names: Collection[str]) -> ImageFolder:
        return self._like(self._found.without(names), augment=self._augment) if names else self

    def file(self, index: int) -> Path:
        return self._root / self.names[index]

    def unaugmented(self) -> ImageFolder:
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
        samples = [(os.fspath(self._root / self.names[i]), int(i)) for i in indices]
        return self._loaders.submit(samples, epoch=epoch, out=out)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Return (n, 3, h, w) bytes as float32 with ImageNet's mean and deviation taken out."""
    scale = np.array([1 / (255 * std) for std in STD], dtype=np.float32)
    shift = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], dtype=np.float32)
    image = pixels * scale[:, None, None]
    image += shift[:, None, None]
    return image
