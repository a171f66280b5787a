"""TFRecord: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data; all little-endian.

The data are a ``tf.train.Example`` under the names of TensorFlow's ImageNet shards (``image/encoded``,
``image/class/label``, ``image/filename``), and ``image/number``, our own: the sample's place in its split.
Source: https://www.tensorflow.org/tutorials/load_data/tfrecord and ``tensorflow/core/lib/io/record_writer.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .crc import masked
from .example import decode, encode
from .sample import Damage, Found, Sample, damaged, exactly

SUFFIX = ".tfrecord"
IMAGE, LABEL, NAME, NUMBER = "image/encoded", "image/class/label", "image/filename", "image/number"


def put(file: BinaryIO, sample: Sample) -> None:
    """Append a sample."""
    write(file, encode({IMAGE: [sample.image], LABEL: [sample.label], NUMBER: [sample.number],
                        NAME: [sample.name.encode(errors="surrogateescape")]}))


def write(file: BinaryIO, data: bytes) -> None:
    """Append a record of any data."""
    length = struct.pack("<Q", len(data))
    file.write(length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data)))


def walk(path: Path) -> Iterator[Found]:
    """Yield what each record is; one whose length cannot be trusted stands for all that would follow."""
    offset = 0
    with path.open("rb") as file:
        while file.read(1):
            file.seek(offset)
            try:
                data = record(file, path, offset)
                resumes = file.tell()
                yield found(data, path, offset, resumes)
            except Damage as damage:
                yield damaged(path, damage)
                if damage.resumes is None:
                    return
                resumes = damage.resumes
            offset = resumes
            file.seek(offset)


def take(path: str, offset: int) -> bytes:
    """Return the encoded image of the record at an offset; Damage if it cannot be read."""
    with open(path, "rb") as file:  # noqa: PTH123  # for each image
        file.seek(offset)
        return image_of(record(file, path, offset), path, offset)


def record(file: BinaryIO, path: str | Path, offset: int) -> bytes:
    """Return the data of the record that a file stands at, both its CRCs checked."""
    length = exactly(file, 8, path, offset)
    if wrong := mismatch("length", length, exactly(file, 4, path, offset)):
        raise Damage(path, offset, wrong)
    data = exactly(file, struct.unpack("<Q", length)[0], path, offset)
    if wrong := mismatch("data", data, exactly(file, 4, path, offset)):
        raise Damage(path, offset, wrong, resumes=file.tell())
    return data


def mismatch(what: str, data: bytes, crc: bytes) -> str | None:
    """Return in words that a CRC is not that of some data; None if it is."""
    said, right = struct.unpack("<I", crc)[0], masked(data)
    return None if said == right else f"the CRC of its {what} is 0x{said:08x}, and should be 0x{right:08x}"


def image_of(data: bytes, path: str | Path, offset: int) -> bytes:
    """Return the encoded image in an Example."""
    try:
        image = next(iter(decode(data).get(IMAGE, ())), None)
    except ValueError as error:
        raise Damage(path, offset, f"it holds no tf.train.Example: {error}") from error
    if not isinstance(image, bytes):
        raise Damage(path, offset, f"its Example has no bytes {IMAGE!r}")
    return image


def found(data: bytes, path: Path, offset: int, resumes: int) -> Found:
    """Return name and label in an Example."""
    try:
        features = decode(data)
    except ValueError as error:
        raise Damage(path, offset, f"it holds no tf.train.Example: {error}", resumes=resumes) from error
    label, name = next(iter(features.get(LABEL, ())), None), next(iter(features.get(NAME, ())), None)
    if not isinstance(label, int) or not features.get(IMAGE):
        missing = IMAGE if isinstance(label, int) else LABEL
        raise Damage(path, offset, f"its Example has no {missing!r}", resumes=resumes)
    called = name.decode(errors="surrogateescape") if isinstance(name, bytes) and name else f"{path.name}@{offset}"
    return Found(offset, called, label)
