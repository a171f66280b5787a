"""How much of a dataset's files the page cache holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dlcompare.core.data import Dataset
from dlcompare.core.data.cached import cached
from dlcompare.core.data.checked import Checked
from dlcompare.core.data.subset import Subset


class Files(Dataset):
    """A sample for each file, or none."""

    def __init__(self, *files: Path | None) -> None:
        self.files, self.size = files, len(files)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return {}

    def file(self, index: int) -> Path | None:
        return self.files[index]


def test_files_of_samples_are_asked_once_each(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(bytes(8192))
    two.write_bytes(bytes(4096))
    found = cached(Files(one, one, two, None))
    assert found and (found.share, found.files, found.bytes) == (1.0, 2, 12288)


def test_samples_that_are_no_files_are_in_no_page_cache() -> None:
    assert cached(Files(None, None)) is None


def test_what_stands_before_a_dataset_tells_its_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for number, file in enumerate(files):
        file.write_bytes(bytes(1000 * (number + 1)))
    part = Subset(Files(*files), ["a", "b", "c"], skip={"b"})
    found = cached(Checked(part, {}, called="files"))
    assert found and found.bytes == 4000


def test_a_file_that_has_gone_is_a_reason_and_no_share(tmp_path: Path) -> None:
    found = cached(Files(tmp_path / "gone"))
    assert found and found.share is None and "gone" in str(found.reason)
