"""How often a classifier is right: top-1 and top-5 over a whole dataset, counted the same way for every framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.data.order import in_order
from dlcompare.core.errors import JobError

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.plugins.backend import Arrays

EVALUATED = "logits"  # the output that ranks the classes


def accuracy(predict: Callable[[Arrays], Arrays], dataset: Dataset, *, label: str, batch: int,
             top: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Return ``top1``, ``top5``, ... of a classifier as shares of 1 over a dataset, the last short batch included.

    A sample counts if fewer than k other classes have a logit at least as large as its label's, so that a network
    that says the same of every class is right only by its classes' number.

    Raises:
        JobError: a logit is not a number.
    """
    hits = dict.fromkeys(top, 0)
    for epoch, indices in in_order(dataset.size, batch=batch):
        samples = dataset.batch(indices, epoch=epoch)
        logits = predict(samples)[EVALUATED]
        if np.isnan(logits).any():
            raise JobError("a logit is NaN in evaluation; the network has diverged: use a smaller --lr")
        own = np.take_along_axis(logits, samples[label][:, None].astype(np.int64), axis=1)
        ahead = (logits >= own).sum(axis=1) - 1  # all but itself
        for k in top:
            hits[k] += int((ahead < k).sum())
    return {f"top{k}": hits[k] / dataset.size for k in top}
