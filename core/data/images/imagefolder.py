"""Images from a folder in ImageNet's layout: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg.

Without train and val folders, PATH/CLASS/*.jpg serves both training and evaluation. Files end in .jpg, .jpeg or .png
in any case, and lie directly in the class folder; names that begin with a dot are passed over. A class's number is its
folder's place among the sorted training class folders; samples are in sorted order, class by class.

The views are torchvision's reference recipe (see ``decode``). Randomness is a function of seed, epoch and sample only,
whatever the framework, the rank and the number of loader processes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from dlcompare.core.data import Dataset
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from .fit import image_and_label
from .loaders import Loaders

SUFFIXES = (".jpg", ".jpeg", ".png")
CHUNK = 4  # samples per request: small enough to share a batch of 8 among loaders, large enough to hide the request
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, by channel, for pixels from 0 to 1
STD = (0.229, 0.224, 0.225)


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Look at folder names only, and raise UsageError for what would fail later.

    That is: no such folder, no class folders, an empty one, a class that only val has, more classes than the model
    tells apart, a model that does not read one RGB image and one label.
    """
    root = root_folder(argument)
    names = class_names(split_folder(root, train=True))
    image, _ = image_and_label(inputs, dataset="imagefolder", classes=len(names))
    if inputs[image].shape[0] != 3:
        raise UsageError(f"dataset 'imagefolder' gives 3 channels, but this model reads {inputs[image].shape[0]}; "
                         "use --data digits or --data synthetic")
    for folder in [split for split in (root / "train", root / "val") if split.is_dir()] or [root]:
        for name in known_classes(folder, names):
            next(image_names(folder / name))


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> ImageFolder:
    """Return the training or the evaluation split, decoded by ``loaders`` processes; errors as ``check``."""
    check(argument, inputs)
    return ImageFolder(root_folder(argument), inputs, seed=seed, train=train, loaders=loaders)


class ImageFolder(Dataset):
    """One split of an image folder; pixels are (x / 255 - MEAN) / STD."""

    def __init__(self, root: Path, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> None:
        names = class_names(split_folder(root, train=True))
        folder = split_folder(root, train=train)
        self._image, self._label = image_and_label(inputs, dataset="imagefolder", classes=len(names))
        self._specs = inputs
        self._folders = [folder / name for name in names]
        self._files, self._labels = listing(folder, names)
        self._loaders = Loaders(loaders, settings={"size": inputs[self._image].shape[1:], "seed": seed, "train": train})
        self.size = len(self._files)

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
        samples = [(os.fspath(self._folders[self._labels[i]] / self._files[i]), int(i)) for i in indices]
        return self._loaders.submit(samples, epoch=epoch, out=out)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Return (n, 3, h, w) bytes as float32 with ImageNet's mean and deviation taken out."""
    scale = np.array([1 / (255 * std) for std in STD], dtype=np.float32)
    shift = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], dtype=np.float32)
    image = pixels * scale[:, None, None]
    image += shift[:, None, None]
    return image


def root_folder(argument: str) -> Path:
    """Return the folder that the argument names; UsageError if there is none."""
    if not argument:
        raise UsageError("dataset 'imagefolder' needs a folder; write --data imagefolder:PATH")
    root = Path(argument).expanduser()
    if not root.is_dir():
        raise UsageError(f"dataset 'imagefolder': there is no folder {root}; write --data imagefolder:PATH")
    return root


def split_folder(root: Path, *, train: bool) -> Path:
    """Return where a split's class folders are; UsageError if only the other split is there."""
    wanted, other = (root / name for name in (("train", "val") if train else ("val", "train")))
    if wanted.is_dir():
        return wanted
    if other.is_dir():
        raise UsageError(f"{root} has a folder {other.name!r} but no {wanted.name!r}; "
                         f"add {wanted}/CLASS/*.jpg, or name a folder that holds class folders directly")
    return root


def class_names(folder: Path) -> list[str]:
    """Return the sorted names of the class folders; UsageError if there are none."""
    names = sorted(entry.name for entry in entries(folder) if entry.is_dir())
    if not names:
        raise UsageError(f"{folder} has no class folders; expected {folder}/CLASS/*.jpg")
    return names


def known_classes(folder: Path, names: list[str]) -> list[str]:
    """Return a split's class names; UsageError if one is not among ``names``, those of training."""
    found = class_names(folder)
    if strange := sorted(set(found) - set(names)):
        raise UsageError(f"class folder {folder / strange[0]} has no counterpart among the {len(names)} training "
                         "classes; remove it, or add training images of that class")
    return found


def image_names(folder: Path) -> Iterator[str]:
    """Yield the image files of a class folder, unsorted; UsageError if there are none."""
    empty = True
    for entry in entries(folder):
        if entry.name.lower().endswith(SUFFIXES):
            empty = False
            yield entry.name
    if empty:
        raise UsageError(f"class folder {folder} holds no image ({', '.join(SUFFIXES)}); fill it or remove it")


def listing(folder: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the sorted file names of a split, class by class, and each one's class number, int64."""
    there = set(known_classes(folder, names))
    files = [sorted(image_names(folder / name)) if name in there else [] for name in names]
    return list(itertools.chain.from_iterable(files)), np.repeat(np.arange(len(names)), [len(f) for f in files])


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder holds, hidden names left out; UsageError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise UsageError(f"cannot read the folder {folder}: {error.strerror}; check its permissions") from error
