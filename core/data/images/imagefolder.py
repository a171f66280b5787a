"""Images from a folder in ImageNet's layout (see ``listing``).

A class's number is its folder's place among the sorted training class folders; samples are in sorted order, class by
class. The views are torchvision's reference recipe (see ``decode``). Randomness is a function of seed, epoch and sample
only, whatever the framework, the rank and the number of loader processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dlcompare.core.data import Looked, deaf
from dlcompare.core.graph import Input

from .dataset import Images, bad_images, input_names
from .listing import Listing, class_names, listing, root_folder, split_folder, splits


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Look at file names only, and raise UsageError for what would fail later.

    That is: no such folder, no class folders, an empty one, a class that only val has, more classes than the model
    tells apart, a model that does not read one RGB image and one label.
    """
    for found in listings(root_folder(argument)):
        input_names(inputs, found, dataset="imagefolder")


def scan(argument: str, inputs: Mapping[str, Input], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return why images of any split cannot be read, by name below the folder, as far as so many seconds go; ``looked``
    hears how many were looked at, and of how many.

    Raises:
        UsageError: of a split not one can be read, or all deep ones are next to black.
    """
    root = root_folder(argument)
    return bad_images(root, listings(root), seconds=seconds, looked=looked)


def classes(argument: str) -> int:
    """Return how many class folders there are to train with."""
    return len(class_names(split_folder(root_folder(argument), train=True)))


def size(argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many images there are to train with, less those of some names."""
    return len(listing(root_folder(argument), train=True).without(without).names)


def listings(root: Path) -> list[Listing]:
    """Return what each split there is holds."""
    return [listing(root, train=train) for train in splits(root) or (True,)]


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int,
                 **view: Any) -> Images:
    """Return the training or the evaluation split, decoded by ``loaders`` processes; errors as ``check``.

    ``view`` says how evaluation cuts images, if not in the usual way: ``crop`` and ``resize`` of ``Preprocessing``.
    """
    return Images(inputs, listing(root_folder(argument), train=train), dataset="imagefolder", seed=seed, augment=train,
                  loaders=loaders, view=view)
