"""The neutral input side: what a dataset is. Order and sharding are in ``order``, feeding in ``feed``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

if TYPE_CHECKING:
    import numpy as np


Looked = Callable[[int, int], None]  # hears how many samples were looked at, and of how many


def deaf(done: int, of: int) -> None:
    """Hear nothing."""


class Dataset(ABC):
    """Samples by index. ``batch`` is a function of its arguments and the seed alone: no state, any thread.

    ``resident`` says that one placed batch is fed again and again, so that input costs nothing (synthetic data).
    ``one_split``: the same samples serve training and evaluation. ``passed_over`` counts what lies among the samples
    and is none, by what tells it from them, such as a file's suffix. ``names`` are those of all samples, if they have
    any; the hash of the samples' order then speaks for them too.
    """

    size: int
    resident: bool = False
    one_split: bool = False
    names: Sequence[str] = ()
    passed_over: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        """Return the samples of these indices by input name: shape (len(indices), *Input.shape), Input.dtype.

        Raises:
            JobError: a sample cannot be read; the message names the file.
        """

    def without(self, names: Collection[str]) -> Dataset:
        """Return the dataset without some samples, whose names its kind's ``scan`` gave."""
        if names:
            raise UsageError(f"{type(self).__name__} has no samples of a name, so none can be left out")
        return self

    def file(self, index: int) -> Path | None:
        """Return the file that a sample is read from each time it is used; None where it is read once, or made."""
        return None

    def unaugmented(self) -> Dataset:
        """Return the same samples as evaluation reads them: without random crops and the like."""
        return self

    def close(self) -> None:
        """Stop what ``batch`` started: loader processes."""


@dataclass(frozen=True)
class Pixels:
    """What images hold: (pixel - mean) / std of red, green and blue from 0 to 1, cut as ``view`` says."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    view: str


@dataclass(frozen=True)
class DatasetKind:
    """A dataset on offer: ``--data NAME`` or ``--data NAME:ARGUMENT``.

    ``open(argument, inputs, seed=, train=, loaders=)`` returns the Dataset; it runs inside a worker.
    ``check(argument, inputs)`` runs in the parent and raises UsageError for what can be seen to be wrong beforehand.
    ``scan(argument, inputs, seconds=, looked=)`` runs in the parent and returns the names of samples that cannot be
    read, with the reason, as far as so many seconds go; ``looked`` hears how far it is. None: if bad samples are to be
    skipped, all are read in the parent and held against the inputs (``checked``), else the first one fails its job.
    ``classes(argument)`` runs in the parent too, and in workers, and returns how many classes the labels are of; None
    if nobody knows. ``size(argument, without=)`` runs in the parent and returns how many samples there are to train
    with, less those of some names; None where there are always enough.
    """

    name: str
    title: str
    open: Callable[..., Dataset]
    check: Callable[[str, Mapping[str, Input]], None]
    scan: Callable[..., Mapping[str, str]] | None = None
    classes: Callable[[str], int | None] | None = None
    size: Callable[..., int] | None = None
    pixels: Pixels | None = None  # of its images, if they are made so
