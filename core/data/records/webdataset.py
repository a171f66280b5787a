"""Tar shards as webdataset reads them: the files of a sample share what comes before the first dot of their names.

Of each sample there is the image (``KEY.jpg``), its label as text (``KEY.cls``), and what it was called
(``KEY.json``). Headers have a checksum, data have none.
Source: https://github.com/webdataset/webdataset; POSIX.1-1988 (ustar); GNU's and pax's long names are read too.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dlcompare.core.data.images.listing import SUFFIXES, suffix

from .sample import Damage, Found, Sample, damaged, exactly

SUFFIX = ".tar"
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
LABEL, ABOUT = ".cls", ".json"
LONG_NAME, PAX, OTHERS = (b"L",), (b"x",), (b"g", b"K")  # headers that say more of the member after them


@dataclass(frozen=True)
class Member:
    """A file in a tar: its name, where its header is, its content."""

    name: str
    offset: int
    data: bytes


def put(file: BinaryIO, sample: Sample) -> None:
    """Append a sample; its image comes first, so that the sample's offset is that of its image."""
    about = json.dumps({"name": sample.name, "number": sample.number}).encode()
    for ending, data in ((suffix(sample.name) or ".jpg", sample.image), (LABEL, str(sample.label).encode()),
                         (ABOUT, about)):
        member = tarfile.TarInfo(f"{sample.number:08d}{ending}")
        member.size = len(data)
        file.write(member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK))


def walk(path: Path) -> Iterator[Found]:
    """Yield what each sample is; a header that cannot be read stands for all that would follow."""
    group: dict[str, Member] = {}
    held: tuple[str, str] | None = None
    with path.open("rb") as file:
        try:
            for member in members(file, path):
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                if (folder, key) != held:
                    yield from sample_of(group, path)
                    group, held = {}, (folder, key)
                group[f".{ending.lower()}"] = member
            yield from sample_of(group, path)
        except Damage as damage:
            yield from sample_of(group, path) if LABEL in group else ()
            yield damaged(path, damage)


def sample_of(group: dict[str, Member], path: Path) -> Iterator[Found]:
    """Yield the sample that some files of one key are, if there is an image among them."""
    image = next((member for ending, member in group.items() if ending in SUFFIXES), None)
    if image is None:
        return
    label, about = group.get(LABEL), group.get(ABOUT)
    if label is None or not label.data.strip().isdigit():
        yield damaged(path, Damage(path, image.offset, f"no {LABEL} file with a whole number from 0 goes with "
                                                       f"{image.name}"))
        return
    yield Found(image.offset, called(about) or f"{path.name}/{image.name}", int(label.data))


def called(about: Member | None) -> str | None:
    """Return the name that a JSON file of ours tells."""
    try:
        return str(json.loads(about.data)["name"]) if about else None
    except (ValueError, LookupError, TypeError):
        return None


def members(file: BinaryIO, path: str | Path) -> Iterator[Member]:
    """Yield the plain files from where a file stands to the archive's end."""
    longer: str | None = None
    while True:
        offset = file.tell()
        head = exactly(file, BLOCK, path, offset)
        if head == bytes(BLOCK):
            return
        about = header(head, path, offset)
        data = exactly(file, about.size, path, offset)
        exactly(file, -about.size % BLOCK, path, offset)
        if about.type in LONG_NAME:
            longer = data.rstrip(b"\0").decode(errors="surrogateescape")
        elif about.type in PAX:
            longer = pax_name(data) or longer
        elif about.type not in OTHERS:
            if about.isreg():
                yield Member(longer or about.name, offset, data)
            longer = None


def samples_of(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield number and encoded image of each sample of a shard of ours, in order; Damage if it cannot be read."""
    with open(path, "rb") as file:  # noqa: PTH123  # as take
        for member in members(file, path):
            key, _, ending = member.name.partition(".")
            if f".{ending}" in SUFFIXES:
                yield int(key), member.data


def header(head: bytes, path: str | Path, offset: int) -> tarfile.TarInfo:
    try:
        about = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Damage(path, offset, f"its tar header is damaged ({error})") from error
    if about.size < 0:
        raise Damage(path, offset, f"its tar header is damaged (it says that {about.size} bytes follow)")
    return about


def pax_name(data: bytes) -> str | None:
    """Return the path that a pax header gives, None if it gives none."""
    for line in data.split(b"\n"):
        _, _, entry = line.partition(b" ")
        if entry.startswith(b"path="):
            return entry[5:].decode(errors="surrogateescape")
    return None


def take(path: str, offset: int) -> bytes:
    """Return the image whose header is at an offset; Damage if it cannot be read."""
    with open(path, "rb") as file:  # noqa: PTH123  # for each image
        file.seek(offset)
        about = header(exactly(file, BLOCK, path, offset), path, offset)
        return exactly(file, about.size, path, offset)
