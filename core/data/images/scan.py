"""A look at image files before a run: which cannot be read, and why. The parent decides once, for all frameworks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import stat
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from dlcompare.core.data import Looked, deaf
from dlcompare.core.data.images.pixels import is_deep, rgb, why
from dlcompare.core.errors import UsageError
from dlcompare.core.files import cache_root, read_cached, write_cached

RULES = 1  # the version of what is called damaged here and in ``pixels``
CHUNK = 16  # files between two looks at the clock: large ones take a second each
DIM = 16  # of 255: what the largest of 12 bits comes to when 16 bits are white


class Look(NamedTuple):
    """What a file was found to be: unreadable for a ``reason``; if it is deeper than 8 bits, its brightest pixel."""

    reason: str | None = None
    brightest: int | None = None


def damaged(root: Path, names: Sequence[str], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return why files below the root cannot be read, by name, as far as so many seconds go; ``looked`` hears how far.

    Raises:
        UsageError: all images of more than 8 bits are next to black.
    """
    bad: dict[str, str] = {}
    bright: dict[str, int] = {}
    for name, found in looks(root, names, seconds=seconds, looked=looked):
        if found.reason is not None:
            bad[name] = found.reason
        if found.brightest is not None:
            bright[name] = found.brightest
    if bright and max(bright.values()) <= DIM:
        raise UsageError(f"all {len(bright)} images of more than 8 bits that were looked at, such as {min(bright)}, "
                         f"are next to black: no pixel is above {max(bright.values())} of 255, as when 12 bits lie in "
                         "16; convert them to 8 bits, or give TIFFs the tag SMaxSampleValue")
    return bad


def remembered(root: Path, names: Sequence[str], *, looked: Looked = deaf) -> dict[str, str]:
    """Return the same of all files: as it was found the last time, if none of them has changed."""
    file = cache_root() / "images" / f"{fingerprint(root, names)}.json"
    known = read_cached(file, as_found, instead="all images are looked at again")
    if known is None:
        known = damaged(root, names, seconds=math.inf, looked=looked)
        write_cached(file, json.dumps(known))
    return known


def as_found(text: bytes) -> dict[str, str]:
    """Return what was found the last time as it was kept."""
    return {name: str(reason) for name, reason in json.loads(text).items()}


def fingerprint(root: Path, names: Sequence[str]) -> str:
    """Return a hash of what decides whether files can be read: their sizes and times, and the version of Pillow."""
    digest = hashlib.sha256(f"{RULES} {PIL.__version__} {root}".encode(errors="surrogateescape"))
    for name in names:
        with contextlib.suppress(OSError):
            about = (root / name).stat()
            digest.update(f"\0{name}\0{about.st_size} {about.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def looks(root: Path, names: Sequence[str], *, seconds: float, looked: Looked = deaf) -> Iterator[tuple[str, Look]]:
    """Yield what each file is found to be, in an order that mixes classes, until the time is up."""
    order, begin = random.Random(0).sample(names, len(names)), time.monotonic()
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoders free the GIL
        warnings.simplefilter("ignore")  # of large images, odd palettes and EXIF
        for at in range(0, len(order), CHUNK):
            looked(at, len(order))
            if time.monotonic() - begin > seconds:
                return
            part = order[at:at + CHUNK]
            yield from zip(part, pool.map(look, [root / name for name in part]), strict=True)
    looked(len(order), len(order))


def look(path: Path) -> Look:
    """Decode a file, a JPEG at an eighth of its size, and say what it is."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or not about.st_size:
            return Look("it is empty" if stat.S_ISREG(about.st_mode) else "it is not a file")
        with Image.open(path) as image:
            if is_deep(image):
                return Look(brightest=int(np.asarray(rgb(image)).max()))
            image.draft("RGB", (1, 1))
            image.load()
    except Exception as problem:  # Pillow's decoders raise nearly anything for a broken file
        return Look(why(problem))
    return Look()
