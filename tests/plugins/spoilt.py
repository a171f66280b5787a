"""A dataset that holds what no network can use: ``spoilt:nan``, ``spoilt:label``, ``spoilt:rows``, ``spoilt:type``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlcompare.core import hookimpl
from dlcompare.core.data import Dataset, DatasetKind
from dlcompare.core.graph import Input

if TYPE_CHECKING:
    import numpy as np

BAD = 17  # the sample that is bad, of 64, in the training split alone


class Spoilt(Dataset):
    """Samples that are all alike, but for one."""

    size = 64

    def __init__(self, inputs: Mapping[str, Input], fault: str) -> None:
        self.shape, self.fault = inputs["image"].shape, fault

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        import numpy as np

        rows = self.shape[1] - (self.fault == "rows")
        image = np.ones((len(indices), self.shape[0], rows, self.shape[2]),
                        np.float64 if self.fault == "type" else np.float32)
        label = indices % 10
        if self.fault == "nan":
            image[indices == BAD, 0, 0, 0] = np.nan
        if self.fault == "label":
            label = np.where(indices == BAD, 5009, label)
        return {"image": image, "label": label}


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> Dataset:
    return Spoilt(inputs, argument if train else "")


@hookimpl
def dlcompare_datasets() -> list[DatasetKind]:
    return [DatasetKind("spoilt", "one bad sample", open=open_dataset, check=lambda argument, inputs: None)]
