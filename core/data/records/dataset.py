"""A folder of shards as a dataset: the same samples, views and random numbers as of the image files they were made of.

Samples are read at random through an index of offsets, by the loader processes that decode them. Each read is checked:
TFRecord's own CRCs, and the CRC that the index has of an image where a format has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dlcompare.core.data import Looked, deaf
from dlcompare.core.data.images.dataset import Images, bad_images, input_names
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from .index import Shards, shards_of


def check(format_: str, argument: str, inputs: Mapping[str, Input]) -> None:
    """Raise UsageError if there are no shards of this format, or a network does not read one RGB image and one label.
    """
    for found in splits(format_, argument):
        input_names(inputs, found, dataset=format_)


def scan(format_: str, argument: str, inputs: Mapping[str, Input], *, seconds: float,
         looked: Looked = deaf) -> dict[str, str]:
    """Return why samples of any split cannot be read, by name, as far as so many seconds go: those of records that are
    known to be damaged at once.

    Raises:
        UsageError: of a split not one can be read.
    """
    there = splits(format_, argument)
    known = {name: why for found in there for name, why in found.broken.items()}
    for found in there:
        if known.keys() >= set(found.names):
            raise UsageError(f"none of the {len(found.names)} samples of {argument} can be read: "
                             f"{known[found.names[0]]}")
    rest = [found.without(known) for found in there]
    return known | bad_images(Path(argument), rest, seconds=seconds, looked=looked)


def classes(format_: str, argument: str) -> int:
    """Return how many classes there are to train with: those that were prepared, else one more than the greatest label.
    """
    return shards_of(argument, format_, train=True).classes


def size(format_: str, argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many samples there are to train with, less those of some names."""
    return len(shards_of(argument, format_, train=True).without(without).names)


def splits(format_: str, argument: str) -> list[Shards]:
    """Return each split there is, once."""
    first = shards_of(argument, format_, train=True)
    return [first] if first.one_split else [first, shards_of(argument, format_, train=False)]


def open_dataset(format_: str, argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int,
                 **view: Any) -> Images:
    """Return the training or the evaluation split, decoded by ``loaders`` processes; errors as ``check``.

    ``view`` says how evaluation cuts images, if not in the usual way: ``crop`` and ``resize`` of ``Preprocessing``.
    """
    return Images(inputs, shards_of(argument, format_, train=train), dataset=format_, seed=seed, augment=train,
                  loaders=loaders, view=view)
