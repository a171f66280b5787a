"""Make shards of a folder of images, whole or not at all; order, names, labels and the files' bytes are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dlcompare.core.data.images.imagefolder import listings
from dlcompare.core.data.images.listing import Listing, class_names, root_folder, split_folder
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.files import remedy

from .crc import crc32c
from .formats import FORMATS, Format, encoded
from .index import MANIFEST, Manifest, ids_sha256
from .npz import write_arrays
from .sample import Sample

MB = 1_000_000
NPZ = "npz"
SOURCE = "imagefolder"
Told = Callable[[int, int], None]  # hears how many samples were written, of how many


def prepare(source: str, to: str, out: Path, *, shard_bytes: int = 128 * MB, image_size: int | None = None,
            told: Told = lambda done, of: None) -> Manifest:
    """Write ``source``, ``imagefolder:DIR``, to the folder ``out`` in a format and return its manifest.

    The folder takes its name when all is written and on the disk; an attempt that ends before leaves nothing.

    Raises:
        UsageError: the source is no image folder, the format unknown, ``out`` there already, or an image unreadable.
        JobError: the disk is full, or the like.
    """
    root = root_of(source)
    check(root, to, out, image_size)
    there = listings(root)
    classes = tuple(class_names(split_folder(root, train=True)))
    total, done = sum(len(found.names) for found in there), 0

    def one_more() -> None:
        nonlocal done
        done += 1
        told(done, total)

    with half_made(out) as folder:
        splits = {}
        for found in there:
            split = "train" if found is there[0] else "val"
            splits[split] = (write_arrays(found, folder / f"{split}.npz", image_size or 224, one_more) if to == NPZ else
                             write_split(found, folder, split, FORMATS[to], shard_bytes, one_more))
        made = Manifest(to, f"{SOURCE}:{root}", classes, splits)
        (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(made), indent=1) + "\n")
    return made


def root_of(source: str) -> Path:
    """Return the folder of images that a source names."""
    kind, _, path = source.partition(":")
    if kind != SOURCE or not path:
        raise UsageError(f"--from takes {SOURCE}:DIR, not {source!r}")
    return root_folder(path).resolve()


def check(root: Path, to: str, out: Path, image_size: int | None) -> None:
    """Raise UsageError if nothing can be made of this."""
    if to not in (*FORMATS, NPZ):
        raise UsageError(f"--to takes {', '.join((*FORMATS, NPZ))}, not {to!r}")
    if image_size is not None and to != NPZ:
        raise UsageError(f"--image-size is of the decoded images of --to {NPZ}; {to} keeps files as they are")
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already; name another folder with --out, or remove it")
    if root in (out.resolve(), *out.resolve().parents):
        raise UsageError(f"--out {out} is within {root}, and would be taken for images of it; name another folder")


@contextlib.contextmanager
def half_made(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that takes its name when the block ends well, and is removed otherwise."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        yield part
        for path in part.iterdir():
            on_disk(path)
        part.rename(out)
    except OSError as error:
        raise JobError(f"cannot write {out}: {error.strerror or error}; {remedy(error)}, and prepare the data again; "
                       "nothing of it is left") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def on_disk(path: Path) -> None:
    """Return when a file is on the disk, so that its pages can be dropped and a crash loses nothing."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@dataclass
class Shard:
    """A shard being written."""

    path: Path
    file: BinaryIO
    rows: list[tuple[int, Sample]] = field(default_factory=list)  # without their images

    def add(self, made: Format, sample: Sample) -> int:
        """Append a sample and return where it begins."""
        offset = self.file.tell()
        made.put(self.file, sample)
        self.rows.append((offset, dataclasses.replace(sample, image=b"")))
        return offset

    def full(self, sample: Sample, most: int) -> bool:
        """Return whether another sample would make it larger than so many bytes; one of them it always takes."""
        return bool(self.rows) and self.file.tell() + len(sample.image) > most

    def end(self, made: Format) -> dict[str, Any]:
        """End the shard and return what a manifest says of it."""
        self.file.write(made.end)
        self.file.close()
        if made.beside:
            made.beside(self.path, self.rows)
        return {"file": self.path.name, "bytes": self.path.stat().st_size, "samples": len(self.rows)}


def write_split(found: Listing, folder: Path, split: str, made: Format, shard_bytes: int,
                one_more: Callable[[], None]) -> dict[str, Any]:
    """Write one split's shards and their index; return what a manifest says of it."""
    shards: list[Shard] = []
    done: list[dict[str, Any]] = []
    index: list[Sequence[Any]] = []
    with contextlib.ExitStack() as files:
        for sample in samples(found):
            if not shards or shards[-1].full(sample, shard_bytes):
                done += [shards[-1].end(made)] if shards else []
                path = folder / f"{split}-{len(shards):05d}{made.suffix}"
                shards.append(Shard(path, files.enter_context(path.open("wb"))))
            offset = shards[-1].add(made, sample)
            crc = None if made.guarded else crc32c(sample.image)
            index.append((len(done), offset, crc, sample.label, sample.name))
            one_more()
        done.append(shards[-1].end(made))
    (folder / f"index-{split}.json").write_text("[" + ",\n".join(map(json.dumps, index)) + "]\n")
    return {"samples": len(index), "ids_sha256": ids_sha256(found.names, found.labels), "shards": done}


def samples(found: Listing) -> Iterator[Sample]:
    """Yield the samples of a split in order; UsageError if a file cannot be read."""
    for row, (name, label) in enumerate(zip(found.names, found.labels, strict=True)):
        try:
            yield Sample(name, label, row, encoded(found.place(row)))
        except OSError as error:
            raise UsageError(f"{found.place(row)} cannot be read ({error.strerror}); repair or remove it") from error
