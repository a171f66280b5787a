"""A dataset without some of its samples, for datasets whose samples have numbers and no names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from . import Dataset


class Subset(Dataset):
    """The samples of a dataset that are left, in its order; ``names`` are those of all its samples."""

    def __init__(self, dataset: Dataset, names: Collection[str], *, skip: Collection[str]) -> None:
        kept = [(index, name) for index, name in enumerate(names) if name not in skip]
        self._dataset, self._again = dataset, (names, skip)
        self._kept = np.array([index for index, _ in kept], dtype=np.int64)
        self.size, self.names = len(kept), [name for _, name in kept]
        self.resident, self.one_split, self.passed_over = dataset.resident, dataset.one_split, dataset.passed_over

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return self._dataset.batch(self._kept[indices], epoch=epoch)

    def file(self, index: int) -> Path | None:
        return self._dataset.file(int(self._kept[index]))

    def unaugmented(self) -> Subset:
        names, skip = self._again
        return Subset(self._dataset.unaugmented(), names, skip=skip)

    def close(self) -> None:
        self._dataset.close()
