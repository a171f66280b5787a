"""Weights of a loss, so that the mean of equal shares is the weighted mean over the global batch.

Shares of a batch hold unequal numbers of words, so the mean of their means is not the mean over all words. But the
order of samples is the same for any number of workers, so every rank can know what a whole batch weighs: an input of
the role ``weight`` is multiplied by the size of the batch over that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input

from . import Dataset

ROLE = "weight"


class Weighted(Dataset):
    """One rank's samples of each global batch, with weights that add up, over all ranks, to the size of the batch.

    ``batch`` is asked with the indices of the *global* batch.
    """

    def __init__(self, dataset: Dataset, names: Iterable[str], *, rank: int, world: int) -> None:
        self.dataset, self.names, self.rank, self.world = dataset, tuple(names), rank, world
        self.size, self.resident = dataset.size, dataset.resident

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return share(balanced(self.dataset.batch(indices, epoch=epoch), self.names), rank=self.rank, world=self.world)

    def close(self) -> None:
        self.dataset.close()


def weights_among(inputs: Mapping[str, Input]) -> tuple[str, ...]:
    """Return the names of the inputs that weight a loss."""
    return tuple(name for name, spec in inputs.items() if spec.role == ROLE)


def balanced(batch: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return a global batch whose weights add up to its size.

    Raises:
        JobError: they add up to nothing, so there is no mean to take.
    """
    found = dict(batch)
    for name in names:
        total = float(batch[name].sum(dtype=np.float64))
        if not total > 0:
            raise JobError(f"the weights {name!r} of a batch add up to {total}, so no sample of it counts; use a "
                           "larger batch, or leave out samples without a word in them")
        found[name] = (batch[name] * (len(batch[name]) / total)).astype(np.float32)
    return found


def share(batch: Mapping[str, np.ndarray], *, rank: int, world: int) -> dict[str, np.ndarray]:
    """Return one rank's rows of a global batch."""
    size = len(next(iter(batch.values()))) // world
    return {k: v[rank * size:(rank + 1) * size] for k, v in batch.items()}
