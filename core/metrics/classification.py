"""How often a classifier is right: top-1 and top-5, counted the same way for every framework and engine.

docs/semantics.md ("Right answers") has the meaning and its reasons.
"""

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
NOWHERE = np.iinfo(np.int64).max  # the rank of a label where logits are no answer: not among the first k, whatever k


def accuracy(predict: Callable[[Arrays], Arrays], dataset: Dataset, *, label: str, batch: int,
             top: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Return ``top1``, ``top5``, ... of a classifier as shares of 1 over a dataset, the last short batch included.

    A sample counts if its label's rank is less than k: see :func:`ranks`.

    Raises:
        JobError: a logit is not a number.
    """
    hits = dict.fromkeys(top, 0)
    for epoch, indices in in_order(dataset.size, batch=batch):
        samples = dataset.batch(indices, epoch=epoch)
        logits = predict(samples)[EVALUATED]
        if np.isnan(logits).any():
            raise JobError("a logit is NaN in evaluation; the network has diverged: use a smaller --lr")
        found = ranks(logits, samples[label])
        for k in top:
            hits[k] += int((found < k).sum())
    return {f"top{k}": hits[k] / dataset.size for k in top}


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes come before each sample's label: 0 is top-1, less than 5 top-5.

    ``logits`` are (n, classes), ``labels`` and the result (n,). Of classes with equal logits the earlier one comes
    first, as argmax and a stable sort have it. NOWHERE where the label is no class, or the logits are no answer: one
    is NaN or plus infinity, or all are alike.
    """
    classes = logits.shape[1]
    wanted = labels.astype(np.int64)[:, None]
    known = (wanted >= 0) & (wanted < classes)
    own = np.take_along_axis(logits, np.where(known, wanted, 0), axis=1)
    before = (logits > own) | ((logits == own) & (np.arange(classes) < wanted))
    bounded = (logits < np.inf).all(axis=1)  # false of NaN too
    alike = (logits == logits[:, :1]).sum(axis=1) == max(classes, 2)  # one class alone has none to be like
    return np.where(known[:, 0] & bounded & ~alike, before.sum(axis=1), NOWHERE)
