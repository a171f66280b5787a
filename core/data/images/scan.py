"""A look at images before a run: which cannot be read, and why. The parent decides once, for all frameworks."""

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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from dlcompare.core.data import Looked, deaf
from dlcompare.core.data.images.decode import opened
from dlcompare.core.data.images.pixels import is_deep, rgb, why
from dlcompare.core.data.records.formats import Place
from dlcompare.core.errors import UsageError
from dlcompare.core.files import cache_root, read_cached, write_cached

RULES = 1  # the version of what is called damaged here and in ``pixels``
CHUNK = 16  # files between two looks at the clock: large ones take a second each
DIM = 16  # of 255: what the largest of 12 bits comes to when 16 bits are white


class Look(NamedTuple):
    """What a file was found to be: unreadable for a ``reason``; if it is deeper than 8 bits, its brightest pixel."""

    reason: str | None = None
    brightest: int | None = None


def damaged(places: Mapping[str, Place], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return why images cannot be read, by name, as far as so many seconds go; ``looked`` hears how far.

    Raises:
        UsageError: all images of more than 8 bits are next to black.
    """
    bad: dict[str, str] = {}
    bright: dict[str, int] = {}
    for name, found in looks(places, seconds=seconds, looked=looked):
        if found.reason is not None:
            bad[name] = found.reason
        if found.brightest is not None:
            bright[name] = found.brightest
    if bright and max(bright.values()) <= DIM:
        raise UsageError(f"all {len(bright)} images of more than 8 bits that were looked at, such as {min(bright)}, "
                         f"are next to black: no pixel is above {max(bright.values())} of 255, as when 12 bits lie in "
                         "16; convert them to 8 bits, or give TIFFs the tag SMaxSampleValue")
    return bad


def remembered(root: Path, places: Mapping[str, Place], *, looked: Looked = deaf) -> dict[str, str]:
    """Return the same of all below a root: as it was found the last time, if no file has changed."""
    file = cache_root() / "images" / f"{fingerprint(root, places)}.json"
    known = read_cached(file, as_found, instead="all images are looked at again")
    if known is None:
        known = damaged(places, seconds=math.inf, looked=looked)
        write_cached(file, json.dumps(known))
    return known


def as_found(text: bytes) -> dict[str, str]:
    """Return what was found the last time as it was kept."""
    return {name: str(reason) for name, reason in json.loads(text).items()}


def fingerprint(root: Path, places: Mapping[str, Place]) -> str:
    """Return a hash of what decides whether images can be read: where they are, their files' sizes and times, and the
    version of Pillow.
    """
    digest = hashlib.sha256(f"{RULES} {PIL.__version__} {root}".encode(errors="surrogateescape"))
    known: dict[str, str] = {}
    for name, place in places.items():
        path = place if isinstance(place, str) else place[1]
        if path not in known or isinstance(place, str):
            known = {path: size_and_time(path)}
        within = "" if isinstance(place, str) else f" {place}"
        digest.update(f"\0{name}\0{known[path]}{within}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def size_and_time(path: str) -> str:
    with contextlib.suppress(OSError):
        about = Path(path).stat()
        return f"{about.st_size} {about.st_mtime_ns}"
    return ""


def looks(places: Mapping[str, Place], *, seconds: float, looked: Looked = deaf) -> Iterator[tuple[str, Look]]:
    """Yield what each image is found to be, in an order that mixes classes, until the time is up."""
    order, begin = random.Random(0).sample(list(places), len(places)), time.monotonic()
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoders free the GIL
        warnings.simplefilter("ignore")  # of large images, odd palettes and EXIF
        for at in range(0, len(order), CHUNK):
            looked(at, len(order))
            if time.monotonic() - begin > seconds:
                return
            part = order[at:at + CHUNK]
            yield from zip(part, pool.map(look, [places[name] for name in part]), strict=True)
    looked(len(order), len(order))


def look(place: Place) -> Look:
    """Decode an image, a JPEG at an eighth of its size, and say what it is."""
    try:
        if isinstance(place, str) and (reason := no_file(Path(place))):
            return Look(reason)
        with Image.open(opened(place)) as image:
            if is_deep(image):
                return Look(brightest=int(np.asarray(rgb(image)).max()))
            image.draft("RGB", (1, 1))
            image.load()
    except Exception as problem:  # Pillow's decoders raise nearly anything for a broken file
        return Look(why(problem))
    return Look()


def no_file(path: Path) -> str | None:
    """Return why a path is no file that holds anything; None if it is."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        return "it is not a file"
    return None if about.st_size else "it is empty"
