"""How much of a dataset's files the page cache holds."""

from __future__ import annotations

from dlcompare.core.meters.host.page_cache import MOST_FILES, Residency, residency

from . import Dataset


def cached(dataset: Dataset) -> Residency | None:
    """Return how much of the files of some samples, evenly spread, is resident; None where samples are no files."""
    count = min(dataset.size, MOST_FILES)
    found = (dataset.file(number * dataset.size // count) for number in range(count))
    files = list(dict.fromkeys(file for file in found if file))
    return residency(files) if files else None
