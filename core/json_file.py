"""JSON that somebody else may have written: read whole or refused with one error, within bounds of time and memory."""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from .errors import UsageError

MOST_BYTES = 1 << 29  # some ten thousand records; as Python's objects several times as much
MOST_DEEP = 100  # nested lists and objects; records have about ten
MOST = 2**63  # whole numbers of all that is written here fit into 64 bits


def read_json(path: Path, *, what: str) -> Any:
    """Return what a JSON file holds; ``what`` it should be, as in "a file of records".

    Raises:
        UsageError: it is not there, no ordinary file (a folder, a pipe, a device: none is waited for), too large, no
            JSON, nested too deeply, or holds NaN, an infinity, a number beyond 64 bits or one key twice.
    """
    try:
        data = read_ordinary(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read as {what}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not {what}: {error}") from error
    return parse_json(data, name=str(path), what=what)


def read_ordinary(path: Path) -> bytes:
    """Return the bytes of an ordinary file; ValueError with what else it is, or how large."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # opening a pipe would wait for somebody to write
        raise ValueError("it is no ordinary file but a folder, a pipe or a device")
    if about.st_size > MOST_BYTES:
        raise ValueError(f"it has {about.st_size / 2**20:,.0f} MiB, and at most {MOST_BYTES >> 20} are read")
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


def parse_json(data: str | bytes, *, name: str, what: str) -> Any:
    """Return what a JSON text holds; ``name`` is that of its file. Raises UsageError as :func:`read_json`."""
    try:
        found = json.loads(data, parse_constant=refuse_constant, parse_float=parse_float, parse_int=parse_int,
                           object_pairs_hook=unique)
        if deeper_than(MOST_DEEP, found):
            raise RecursionError
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not {what}: it is binary, not text in UTF-8 ({error.reason})") from error
    except MemoryError as error:
        raise UsageError(f"{name} is not read as {what}: it does not fit into the memory that is free") from error
    except RecursionError:
        raise UsageError(f"{name} is not {what}: it is nested more than {MOST_DEEP} deep") from None
    except ValueError as error:
        raise UsageError(f"{name} is not {what}: {error}") from error
    return found


def refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no JSON; where there is no number, null must be")


def parse_float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds {text[:40]}, which is beyond all floating-point numbers")
    return value


def parse_int(text: str) -> int:
    if len(text) > 20 or not -MOST <= (value := int(text)) < MOST:
        raise ValueError(f"it holds a whole number of {len(text)} digits, {text[:40]}, and 64 bits are the most")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; ValueError if it has one key twice: who reads the first and who the last would disagree."""
    found = dict(pairs)
    if len(found) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"it holds the key {name[:40]!r} twice in one object")
    return found


def deeper_than(most: int, value: Any) -> bool:
    """Return whether lists and objects are nested more than so many deep; needs no recursion itself."""
    level = [value]
    for _ in range(most + 1):
        level = [item for one in level if isinstance(one, (dict, list))
                 for item in (one.values() if isinstance(one, dict) else one)]
    return bool(level)
