"""What a format is to the rest: samples go in, and come out again by where they lie; damage is named by file and byte.

A format is a module with ``SUFFIX``, ``put(file, sample)``, ``walk(path)`` and ``take(path, offset)``; ``formats``
holds their table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LARGEST = 1 << 29  # bytes: no image is larger, but a length that was damaged is


class Damage(ValueError):
    """A record that cannot be read: the message names the file, the byte where it begins, and what is wrong.

    ``resumes`` is the offset of the next record, None where nobody can know it.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int, what: str, *, resumes: int | None = None) -> None:
        super().__init__(f"{os.fspath(path)}, record at byte {offset}: {what}")
        self.offset, self.resumes, self.what = offset, resumes, what


@dataclass(frozen=True)
class Sample:
    """An encoded image with its label; ``name`` is what it was called where it came from, ``number`` its place in its
    split.
    """

    name: str
    label: int
    number: int
    image: bytes


@dataclass(frozen=True)
class Found:
    """What a walk through a shard found at an offset: a sample without its image, or why there is none."""

    offset: int
    name: str
    label: int = 0
    damage: str | None = None


def damaged(path: Path, damage: Damage) -> Found:
    """Return what stands for a record that cannot be read: a sample named after its place."""
    return Found(damage.offset, f"{path.name}@{damage.offset}", damage=str(damage))


def exactly(file: BinaryIO, count: int, path: str | os.PathLike[str], offset: int) -> bytes:
    """Return the next bytes of a file; Damage if it ends before, or no record can be so long."""
    if count > LARGEST:
        raise Damage(path, offset, f"it says that it is {count:,} bytes long, and none is above {LARGEST:,}")
    found = file.read(count)
    if len(found) < count:
        raise Damage(path, offset, f"the file is cut: {count - len(found):,} of {count:,} bytes that should follow are "
                                   "missing")
    return found
