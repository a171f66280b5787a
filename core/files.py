"""Files that are whole or not there at all, numbers that JSON can hold, and where what can be made anew is kept."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .errors import JobError
from .printable import in_one_line
from .privacy import check_private
from .variables import CACHE

T = TypeVar("T")
ROOM = ".room-"


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
    """Write a file whole or not at all, into the room that this process holds where there is no other; JobError if it
    cannot be written."""
    try:
        with whole(path) as part:
            part.write_text(text)
    except OSError as error:
        if not fill_room(path, text):
            raise cannot_write(path, error) from error


def hold_room(folder: Path, size: int) -> None:
    """Hold so many bytes of a folder's disk for a file that this process will :func:`write` in it, come what may.

    Raises:
        JobError: there is no such room.
    """
    try:
        with room(folder).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        room(folder).unlink(missing_ok=True)
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system that holds none
            raise cannot_write(room(folder), error) from error


def fill_room(path: Path, text: str) -> bool:
    """Write a file into the room that is held in its folder; return whether there was any, and enough."""
    with contextlib.suppress(OSError):
        with room(path.parent).open("r+b") as file:
            file.write(text.encode())
            file.truncate()
        room(path.parent).replace(path)
        return True
    return False


def room(folder: Path) -> Path:
    """Return the file by which this process holds room in a folder."""
    return folder / f"{ROOM}{os.getpid()}"


def give_room_back(folder: Path) -> None:
    """Remove what processes that have ended held of a folder's disk."""
    for file in folder.glob(f"{ROOM}*"):
        file.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> JobError:
    """Return the error for a file that cannot be written, with what to do."""
    return JobError(f"cannot write {path}: {error.strerror}; {remedy(error)}, then repeat the command with --resume, "
                    "or name another folder with --out")


def remedy(error: OSError) -> str:
    """Return what to do so that a file can be written that could not be."""
    if error.errno == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return f"no file may be larger than {limit} bytes here, so raise that limit (ulimit -f)"
    return "make room for it"


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


def read_cached(path: Path, parse: Callable[[bytes], T], *, instead: str) -> T | None:
    """Return what a file that can be made anew holds; None if there is none, or none that ``parse`` can read.

    The latter is said once, with what is done ``instead``.
    """
    try:
        if not path.is_file() and path.exists():
            raise ValueError("it is no file")
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except Exception as error:  # parsers raise nearly anything for bytes that are not what they expect
        said = " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
        warn(f"{path} cannot be read ({said[:200]}): {instead}")
        return None


def write_cached(path: Path, text: str) -> None:
    """Write a file that can be made anew; where that cannot be done it is said once, and nothing else is lost."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_text(text)
    except OSError as error:
        warn(f"cannot keep {path} ({error.strerror}): what it holds is made again the next time")


@functools.cache
def warn(text: str) -> None:
    """Say on stderr, once in a process, what does not stop the work."""
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"dlcompare: {in_one_line(text)}", file=sys.stderr, flush=True)
