"""A folder for files that a run needs for a moment."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Hold a folder that is empty at first and gone afterwards; its name is the same in a run that is resumed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
