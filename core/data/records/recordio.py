"""MXNet's RecordIO with image records: magic, length with a flag, data, zeros up to a multiple of 4 bytes.

Data that hold the magic at a multiple of 4 are written in parts, without it: the flag says whole (0), first (1), middle
(2) or last (3) part. Each begins with a header: how many further labels (u32), label (f32), id and second id (u64).
There is no checksum. Names are in the list beside (``.lst``: id, label, name), offsets in the index (``.idx``).
Source: dmlc-core's ``include/dmlc/recordio.h``, MXNet's ``python/mxnet/recordio.py``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .sample import Damage, Found, Sample, damaged, exactly

SUFFIX = ".rec"
MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
HEADER = struct.Struct("<IfQQ")
LIMIT = 1 << 29  # bytes of a part


def put(file: BinaryIO, sample: Sample) -> None:
    """Append a sample."""
    write(file, HEADER.pack(0, sample.label, sample.number, 0) + sample.image)


def write(file: BinaryIO, data: bytes) -> None:
    """Append a record of any data."""
    begin = 0
    for at in magics(data):
        part(file, FIRST if begin == 0 else MIDDLE, data[begin:at])
        begin = at + len(MAGIC)
    part(file, LAST if begin else WHOLE, data[begin:])
    file.write(bytes(-len(data) % 4))


def magics(data: bytes) -> Iterator[int]:
    """Yield the multiples of 4 at which data hold the magic."""
    at = data.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            yield at
        at = data.find(MAGIC, at + 4 - at % 4)


def part(file: BinaryIO, flag: int, data: bytes) -> None:
    file.write(MAGIC + struct.pack("<I", flag << 29 | len(data)) + data)


def walk(path: Path) -> Iterator[Found]:
    """Yield what each record is; one that cannot be read stands for all that would follow."""
    names, offset = listed(path.with_suffix(".lst")), 0
    with path.open("rb") as file:
        while file.read(1):
            file.seek(offset)
            try:
                data = record(file, path, offset)
                label, number, _ = image_record(data, path, offset)
            except Damage as damage:
                yield damaged(path, damage)
                return
            yield Found(offset, names.get(number, f"{path.name}@{offset}"), label)
            offset = file.tell()


def take(path: str, offset: int) -> bytes:
    """Return the encoded image of the record at an offset; Damage if it cannot be read."""
    with open(path, "rb") as file:  # noqa: PTH123  # for each image
        file.seek(offset)
        return image_record(record(file, path, offset), path, offset)[2]


def record(file: BinaryIO, path: str | Path, offset: int) -> bytes:
    """Return the data of the record that a file stands at, and leave it at the next one."""
    parts: list[bytes] = []
    while True:
        head = exactly(file, 8, path, offset)
        flag, count = divmod(struct.unpack("<I", head[4:])[0], LIMIT)
        if head[:4] != MAGIC:
            raise Damage(path, offset, "it does not begin with the magic 0xced7230a of RecordIO")
        if flag not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            raise Damage(path, offset, f"its part {len(parts)} has the flag {flag}")
        parts.append(exactly(file, count, path, offset))
        if flag in (MIDDLE, FIRST):
            continue
        exactly(file, -count % 4, path, offset)
        return MAGIC.join(parts)


def image_record(data: bytes, path: str | Path, offset: int) -> tuple[int, int, bytes]:
    """Return label, id and encoded image of a record's data; of several labels the first."""
    if len(data) < HEADER.size:
        raise Damage(path, offset, f"it holds {len(data)} bytes, and the header of an image alone takes {HEADER.size}")
    more, label, number, _ = HEADER.unpack_from(data)
    end = HEADER.size + 4 * more
    if more and len(data) >= end:
        label = struct.unpack_from("<f", data, HEADER.size)[0]
    if len(data) < end or not math.isfinite(label) or label != int(label):
        raise Damage(path, offset, f"it says that {more} labels follow its first, {label}, which is no image's header")
    return int(label), number, data[end:]


def listed(path: Path) -> dict[int, str]:
    """Return the names in a list by id; none where there is no list."""
    if not path.is_file():
        return {}
    rows = (line.split("\t") for line in path.read_text(errors="surrogateescape").split("\n"))
    return {int(row[0]): row[-1] for row in rows if len(row) > 2 and row[0].isdigit()}


def beside(path: Path, rows: Sequence[tuple[int, Sample]]) -> None:
    """Write the index and the list of a shard's samples, given with their offsets."""
    index = "".join(f"{sample.number}\t{offset}\n" for offset, sample in rows)
    names = "".join(f"{sample.number}\t{sample.label}\t{sample.name}\n" for _, sample in rows)
    path.with_suffix(".idx").write_text(index)
    path.with_suffix(".lst").write_text(names, errors="surrogateescape")
