"""What a pipeline really gave, as places in the split in the order in which they came, with what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .stream import Source

MOST = 100_000  # places that a rank writes down: 0.7 MB


@dataclass(frozen=True)
class Given:
    """What a rank's pipeline gave: places in the split, which has ``samples``, in the order in which they came (the
    first MOST), and how many came with another label than the data have.
    """

    samples: int
    rows: tuple[int, ...]
    mislabelled: int

    @classmethod
    def of(cls, batches: Sequence[tuple[np.ndarray, np.ndarray]], source: Source) -> Given:
        """Return what batches, places and labels of each, come to."""
        return cls(len(source.found.labels), tuple(islice((int(row) for rows, _ in batches for row in rows), MOST)),
                   mislabelled(batches, source))


@dataclass(frozen=True)
class Delivered:
    """What all ranks' pipelines gave in the first epoch: ``seen`` of ``samples``, each once and with its own label.

    ``sha256`` is of the places of ``steps`` steps, as many as every rank was given, in the order in which one process
    would have been given them; ``neutral``: that is the order of the neutral pipeline.
    """

    samples: int
    seen: int
    steps: int
    sha256: str
    neutral: bool


def mislabelled(batches: Sequence[tuple[np.ndarray, np.ndarray]], source: Source) -> int:
    """Return how many samples came with another label than the data have."""
    known = source.found.labels
    return sum(known[int(row)] != int(label) for rows, labels in batches
               for row, label in zip(rows, labels, strict=True))
