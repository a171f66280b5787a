"""Files that are whole or not there at all, numbers that JSON can hold, and where what can be made anew is kept."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import JobError
from .privacy import check_private
from .variables import CACHE


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes that name when the block ends well, else it is removed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; JobError if it cannot be written."""
    try:
        with whole(path) as part:
            part.write_text(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> JobError:
    """Return the error for a file that cannot be written, with what to do."""
    return JobError(f"cannot write {path}: {error.strerror}; make room for it, then repeat the command with --resume, "
                    "or name another folder with --out")


def finite(value: Any) -> Any:
    """Return the value as JSON holds it: tuples as lists, and None for NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def cache_root() -> Path:
    """Return the folder for all that can be made anew: the variable CACHE, else the user's cache folder.

    Raises:
        UsageError: another user could write there.
    """
    if chosen := os.environ.get(CACHE):
        return check_private(Path(chosen).expanduser().absolute())
    import platformdirs

    return check_private(Path(platformdirs.user_cache_dir("dlcompare")))
