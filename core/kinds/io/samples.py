"""Which samples a pipeline gave, held against those that there are."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np

from dlcompare.core.data.given import mislabelled
from dlcompare.core.data.order import is_neutral, rows_sha256
from dlcompare.core.data.stream import Source

from .result import Ids

Batches = list[tuple[np.ndarray, np.ndarray]]  # places and labels of each batch


def checked(given: Batches, source: Source) -> Ids:
    """Return which samples came and in which order, held against the split's names and labels and the neutral order."""
    found = source.found
    order = [int(row) for rows, _ in given for row in rows]
    counts = Counter(order)
    digest = hashlib.sha256()
    for row in sorted(counts):
        digest.update(f"{found.names[row]}\0{found.labels[row]}\n".encode(errors="surrogateescape"))
    return Ids(len(found.names), len(counts), len(order) - len(counts), mislabelled(given, source), digest.hexdigest(),
               rows_sha256(order, names=found.names), is_neutral(order, len(found.names), source.seed))
