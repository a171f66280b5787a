"""Which samples each rank sees, and when: a function of the seed alone, the same for every framework."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from dlcompare.core.errors import UsageError

from .streams import ORDER, raw


def epoch_order(size: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of an epoch: a permutation of range(size), int64, shape (size,).

    It depends on the three arguments only. ``Generator.permutation`` may change with NumPy's version; ranking the
    integers of PCG64 by a stable sort cannot (see ``streams``).
    """
    return np.argsort(raw(size, seed=seed, key=(ORDER, epoch)), kind="stable").astype(np.int64, copy=False)


def order_sha256(size: int, seed: int, *, names: Sequence[str] = ()) -> str:
    """Return the SHA-256, in hexadecimal, of epoch 0's whole order, and of the samples' names."""
    return rows_sha256(epoch_order(size, seed=seed, epoch=0), names=names)


def rows_sha256(rows: Sequence[int] | np.ndarray, *, names: Sequence[str] = ()) -> str:
    """Return the SHA-256, in hexadecimal, of samples' places in their split as little-endian int64, in the order in
    which they came, and of the names of the split's samples.
    """
    digest = hashlib.sha256(np.asarray(rows, "<i8").tobytes())
    digest.update("\0".join(names).encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_neutral(rows: Sequence[int] | np.ndarray, size: int, seed: int) -> bool:
    """Return whether samples came in the neutral order of epoch 0, as far as they came."""
    return np.array_equal(np.asarray(rows, np.int64), epoch_order(size, seed=seed, epoch=0)[:len(rows)])


@dataclass(frozen=True)
class Sampler:
    """One rank's share of an endless shuffled run through a dataset of ``size`` samples.

    The global batch t of an epoch is elements t * G to (t + 1) * G of the epoch's order, where G = world * batch;
    rank r takes the r-th stretch of ``batch`` of them. So the order is the same for any number of workers, and ranks
    never share a sample. The samples left over at the end of an epoch, fewer than G, are dropped.

    Raises:
        UsageError: the dataset is smaller than one global batch.
    """

    size: int
    _: KW_ONLY
    seed: int
    rank: int
    world: int
    batch: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank must be from 0 to {self.world - 1}, not {self.rank}")
        if not self.steps:
            raise UsageError(f"the dataset has {self.size} samples, but one step of {self.world} x {self.batch} "
                             f"(workers x batch) needs {self.world * self.batch}; lower --batch or --workers")

    @property
    def steps(self) -> int:
        """Return how many global batches an epoch has."""
        return self.size // (self.world * self.batch)

    @property
    def whole(self) -> Sampler:
        """Return the sampler of the same global batches, undivided."""
        return Sampler(self.size, seed=self.seed, rank=0, world=1, batch=self.world * self.batch)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (epoch, this rank's indices) for ever; indices are int64 of shape (batch,)."""
        for epoch in itertools.count():
            order = epoch_order(self.size, seed=self.seed, epoch=epoch)
            batches = order[: self.steps * self.world * self.batch].reshape(self.steps, self.world, self.batch)
            for share in batches[:, self.rank]:
                yield epoch, share


def in_order(size: int, *, batch: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (0, indices) through a dataset once, unshuffled, for evaluation; a short last batch is kept."""
    for start in range(0, size, batch):
        yield 0, np.arange(start, min(start + batch, size), dtype=np.int64)
