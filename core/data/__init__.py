"""The neutral input side: what a dataset is. Order and sharding are in ``order``, feeding in ``feed``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dlcompare.core.graph import Input

if TYPE_CHECKING:
    import numpy as np


class Dataset(ABC):
    """Samples by index. ``batch`` is a function of its arguments and the seed alone: no state, any thread.

    ``resident`` says that one placed batch is fed again and again, so that input costs nothing (synthetic data).
    """

    size: int
    resident: ClassVar[bool] = False

    @abstractmethod
    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        """Return the samples of these indices by input name: shape (len(indices), *Input.shape), Input.dtype.

        Raises:
            JobError: a sample cannot be read; the message names the file.
        """

    def close(self) -> None:
        """Stop what ``batch`` started: loader processes."""


@dataclass(frozen=True)
class DatasetKind:
    """A dataset on offer: ``--data NAME`` or ``--data NAME:ARGUMENT``.

    ``open(argument, inputs, seed=, train=, loaders=)`` returns the Dataset; it runs inside a worker.
    ``check(argument, inputs)`` runs in the parent and raises UsageError for what can be seen to be wrong beforehand.
    """

    name: str
    title: str
    open: Callable[..., Dataset]
    check: Callable[[str, Mapping[str, Input]], None]
