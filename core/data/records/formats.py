"""The formats by name, and how one sample is read in any of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import recordio, tfrecord, webdataset
from .crc import crc32c
from .sample import Damage, Found, Sample

NUMBERED = re.compile(r"-\d+-of-\d+$")  # as TensorFlow's scripts name shards
Place = str | list[Any]  # a file of its own, or [format, file, offset, CRC of the image or None]


@dataclass(frozen=True)
class Format:
    """How samples are written, found and read; see ``sample``. ``guarded``: it has a CRC of its data by itself;
    ``bare``: its shards need no suffix if they are numbered, as in train-00000-of-01024.
    """

    suffix: str
    put: Callable[[BinaryIO, Sample], None]
    walk: Callable[[Path], Iterator[Found]]
    take: Callable[[str, int], bytes]
    end: bytes = b""
    beside: Callable[[Path, Sequence[tuple[int, Sample]]], None] | None = None
    guarded: bool = False
    bare: bool = False

    def is_shard(self, name: str) -> bool:
        """Return whether a file of such a name is one."""
        return (name.endswith(self.suffix) or f"{self.suffix}-" in name
                or (self.bare and NUMBERED.search(name) is not None))


FORMATS = {
    "tfrecord": Format(tfrecord.SUFFIX, tfrecord.put, tfrecord.walk, tfrecord.take, guarded=True,
                       bare=True),
    "recordio": Format(recordio.SUFFIX, recordio.put, recordio.walk, recordio.take, beside=recordio.beside),
    "webdataset": Format(webdataset.SUFFIX, webdataset.put, webdataset.walk, webdataset.take, end=webdataset.END),
}


def encoded(place: Place) -> bytes:
    """Return the encoded image at a place.

    Raises:
        OSError: its file cannot be read.
        ValueError: what is read there is damaged; the message names file and byte.
    """
    if isinstance(place, str):
        return Path(place).read_bytes()
    name, path, offset, crc = place
    image = FORMATS[name].take(path, offset)
    if crc is not None and crc32c(image) != crc:
        raise Damage(path, offset, "its image is not the one that was written: its CRC is another than the index has")
    return image
