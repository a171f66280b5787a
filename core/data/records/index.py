"""Where each sample of a folder of shards is: written when the shards are, or found by one walk through them and kept.

A prepared folder has ``manifest.json`` (what was made of what, sizes, hash of the samples' names and labels) and
``index-SPLIT.json``. Without them the shards whose names begin with train, and with val, valid or test, are the splits;
without such, all serve both.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.data.images.listing import EVALUATION, TRAINING, Listing
from dlcompare.core.errors import UsageError
from dlcompare.core.files import cache_root, read_cached, write_cached

from .formats import FORMATS, Format, Place
from .sample import Found

MANIFEST, SCHEMA = "manifest.json", 1
RULES = 1  # the version of what a walk finds
Where = tuple[int, int, int | None]  # shard, offset, CRC of the image


@dataclass(frozen=True)
class Shards(Listing):
    """A split of a folder of shards; ``where`` has each sample's shard, offset and, if it is known, its image's CRC.

    ``broken`` are samples that stand for records which cannot be read, by name, with the reason.
    """

    format: str = ""
    shards: tuple[str, ...] = ()
    where: tuple[Where, ...] = ()
    broken: dict[str, str] = field(default_factory=dict)

    def place(self, index: int) -> Place:
        shard, offset, crc = self.where[index]
        return [self.format, self.shards[shard], offset, crc]

    def file(self, index: int) -> Path:
        return Path(self.shards[self.where[index][0]])

    def kept(self, rows: Sequence[int]) -> Shards:
        found = super().kept(rows)
        assert isinstance(found, Shards)
        return dataclasses.replace(found, where=tuple(self.where[row] for row in rows))


@dataclass(frozen=True)
class Manifest:
    """What was prepared: of what, how many classes, and of each split its samples, shards and hash."""

    format: str
    source: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    schema: int = SCHEMA


def ids_sha256(names: Iterable[str], labels: Iterable[int]) -> str:
    """Return the SHA-256, in hexadecimal, of samples' names and labels, in their order."""
    digest = hashlib.sha256()
    for name, label in zip(names, labels, strict=True):
        digest.update(f"{name}\0{label}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def shards_of(argument: str, format_: str, *, train: bool) -> Shards:
    """Return a split of a folder of shards; UsageError if it is none of this format."""
    if not argument:
        raise UsageError(f"dataset {format_!r} needs a folder; write --data {format_}:PATH")
    root = Path(argument).expanduser()
    if not root.is_dir():
        raise UsageError(f"dataset {format_!r}: there is no folder {root}; write --data {format_}:PATH, or make one: "
                         f"dlcompare data prepare --from imagefolder:PATH --to {format_} --out {root}")
    manifest = manifest_of(root)
    if manifest is None:
        return walked(root, format_, train=train)
    if manifest.format != format_:
        raise UsageError(f"{root} was prepared as {manifest.format}; write --data {manifest.format}:{argument}")
    return prepared(root, manifest, train=train)


def manifest_of(root: Path) -> Manifest | None:
    """Return a folder's manifest, None if it has none; UsageError if it cannot be read."""
    path = root / MANIFEST
    if not path.is_file():
        return None
    found = read_json(path)
    try:
        made = Manifest(**{**found, "classes": tuple(found["classes"])})
    except (TypeError, KeyError) as error:
        raise no_manifest(path, error) from error
    if made.schema != SCHEMA or made.format not in FORMATS or not isinstance(made.splits, dict) or not made.splits:
        raise no_manifest(path, f"schema {made.schema!r}, format {made.format!r}")
    return made


def no_manifest(path: Path, why: object) -> UsageError:
    return UsageError(f"{path} is no manifest of this dlcompare ({why}); prepare the data again, or remove the file: "
                      "the shards are then walked through")


def read_json(path: Path) -> Any:
    """Return what a file of a prepared folder holds; UsageError if it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read ({why}); prepare the data again, or remove {path.parent / MANIFEST}: "
                         "the shards are then walked through") from error


def prepared(root: Path, manifest: Manifest, *, train: bool) -> Shards:
    """Return a split as its index has it; UsageError if that is not the one the manifest speaks of."""
    names = [name for name in ("train", "val") if name in manifest.splits]
    wanted = "train" if train else "val"
    if len(names) == 2 and wanted not in names:
        raise UsageError(f"{root} has no split {wanted!r}")
    split = wanted if wanted in names else names[0]
    return indexed(root, manifest.format, split, len(manifest.classes), json.dumps(manifest.splits[split]),
                   one_split=len(names) == 1)


@functools.lru_cache(maxsize=4)
def indexed(root: Path, format_: str, split: str, classes: int, about: str, *, one_split: bool) -> Shards:
    """Return a split of a prepared folder; kept, for a program asks several times."""
    said, path = json.loads(about), root / f"index-{split}.json"
    rows = read_json(path)
    try:
        for row in rows:
            check_row(row)
        where, labels, names = [tuple(row[:3]) for row in rows], [row[3] for row in rows], [row[4] for row in rows]
        shards = [root / shard["file"] for shard in said["shards"]]
        sizes = {number: shard["bytes"] for number, shard in enumerate(said["shards"])}
        right = said["ids_sha256"] == ids_sha256(names, labels) and all(number in sizes for number, *_ in where)
    except (TypeError, LookupError, AttributeError) as error:
        raise no_manifest(path, error) from error
    if not right:
        raise UsageError(f"{path} is not the index that {root / MANIFEST} speaks of: its samples have another hash; "
                         "prepare the data again")
    broken = cut_off(shards, sizes, where, names)
    return Shards(names, labels, classes, {}, one_split, format=format_, shards=tuple(map(str, shards)),
                  where=tuple(where), broken=broken)


def check_row(row: Any) -> None:
    """Raise TypeError unless a row is [shard, offset, CRC of the image or None, label, name]."""
    shard, offset, crc, label, name = row if isinstance(row, list) and len(row) == 5 else [None] * 5
    numbers = (shard, offset, label, 0 if crc is None else crc)
    if not isinstance(name, str) or not all(type(one) is int and one >= 0 for one in numbers):
        raise TypeError(f"a row is {str(row)[:60]}")


def cut_off(shards: Sequence[Path], sizes: dict[int, int], where: Sequence[Any],
            names: Sequence[str]) -> dict[str, str]:
    """Return the samples that are known to be gone, by name: a shard is absent, or shorter than it was written."""
    there = {number: path.stat().st_size if path.is_file() else -1 for number, path in enumerate(shards)}
    short = {number for number, size in there.items() if size < sizes[number]}
    ends: dict[int, int] = {}
    found = {}
    for at in range(len(where) - 1, -1, -1):
        number, offset, _ = where[at]
        end = ends.get(number, sizes[number])
        if number in short and end > there[number]:
            state = "is not there" if there[number] < 0 else f"is cut: {there[number]:,} of {sizes[number]:,} bytes"
            found[names[at]] = f"{shards[number]} {state}, and the record at byte {offset} ends at byte {end:,}"
        ends[number] = offset
    return found


def walked(root: Path, format_: str, *, train: bool) -> Shards:
    """Return a split of shards that others wrote, by a walk through all of them, or what an earlier one has found."""
    splits = split_shards(root, FORMATS[format_])
    one_split = len(splits) == 1 and None in splits
    paths = splits.get(None if one_split else train)
    if paths is None:
        ending = FORMATS[format_].suffix
        raise UsageError(f"{root} has shards of only one split; name those to train with train*{ending}, the others "
                         f"val*{ending}")
    found = index_of(format_, tuple(paths), tuple((p.stat().st_size, p.stat().st_mtime_ns) for p in paths))
    rows = [(number, one) for number, shard in enumerate(found) for one in shard]
    names = distinct([one.name for _, one in rows], [f"{paths[number].name}@{one.offset}" for number, one in rows])
    if not rows:
        raise UsageError(f"the shards of {root} hold no sample; {paths[0]} is the first of {len(paths)}")
    most = max(one.label for _, one in rows)
    if min(one.label for _, one in rows) < 0:
        raise UsageError(f"{root} has a label below 0; classes are counted from 0")
    return Shards(names, [one.label for _, one in rows], most + 1, {}, one_split,
                  format=format_, shards=tuple(map(str, paths)), where=tuple((n, one.offset, None) for n, one in rows),
                  broken={name: one.damage for name, (_, one) in zip(names, rows, strict=True) if one.damage})


def distinct(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """Return names, those that are there several times made distinct by their places."""
    often = Counter(names)
    return [name if often[name] == 1 else f"{name} in {place}" for name, place in zip(names, places, strict=True)]


def split_shards(root: Path, format_: Format) -> dict[bool | None, list[Path]]:
    """Return a folder's shards by split, True to train with; under None all of them where no name tells a split."""
    every = sorted(path for path in root.iterdir() if format_.is_shard(path.name))
    if not every:
        bare = ", and nothing named as train-00000-of-01024" if format_.bare else ""
        raise UsageError(f"{root} holds no *{format_.suffix}{bare}; make them with dlcompare data prepare --from "
                         "imagefolder:PATH")
    found: dict[bool | None, list[Path]] = {}
    for train, names in ((True, TRAINING), (False, EVALUATION)):
        if mine := [path for path in every if path.name.lower().startswith(names)]:
            found[train] = mine
    return found or {None: every}


@functools.lru_cache(maxsize=4)
def index_of(format_: str, paths: tuple[Path, ...], stats: tuple[Any, ...]) -> tuple[tuple[Found, ...], ...]:
    """Return what walks through shards find, each as it was found the last time if it has not changed."""
    known = hashlib.sha256(f"{RULES} {format_} {[*map(str, paths)]} {stats}".encode(errors="surrogateescape"))
    file = cache_root() / "shards" / f"{known.hexdigest()}.json"
    found = read_cached(file, as_found, instead="the shards are walked through again")
    if found is None:
        found = tuple(tuple(FORMATS[format_].walk(path)) for path in paths)
        write_cached(file, json.dumps([[dataclasses.astuple(one) for one in shard] for shard in found]))
    return found


def as_found(text: bytes) -> tuple[tuple[Found, ...], ...]:
    """Return what walks found as it was kept."""
    return tuple(tuple(Found(*row) for row in shard) for shard in json.loads(text))
