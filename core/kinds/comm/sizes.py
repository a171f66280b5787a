"""Sizes as they are asked for: 1K..1G, 1K..1G*4, 1M,3M, model:NAME, in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.collectives import MODEL

MOST = 1 << 40
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
ONE = r"(\d{1,13})([KMG]?)(?:I?B)?"
RANGE = re.compile(rf"{ONE}\.\.{ONE}(?:\*(\d{{1,4}}))?")
FORMS = "takes 1K..1G (doubling), 1K..1G*4, a list such as 1M,3M, and model:resnet50; K, M, G are powers of 1,024"


def parse(text: str) -> tuple[list[int], list[str]]:
    """Return sizes in bytes, ascending, and the models whose messages are asked for; UsageError if it is neither."""
    sizes, models = set[int](), list[str]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.startswith(MODEL):
            models.append(part.removeprefix(MODEL))
        else:
            sizes.update(of_part(part))
    if not sizes and not models:
        raise UsageError(f"--sizes {FORMS}; {text!r} names none")
    return sorted(sizes), list(dict.fromkeys(models))


def of_part(part: str) -> Iterator[int]:
    """Yield the sizes of one part of a list."""
    upper = part.upper()
    if found := re.fullmatch(ONE, upper):
        yield bounded(found[1], found[2], part)
        return
    found = RANGE.fullmatch(upper)
    if found is None:
        raise UsageError(f"--sizes {FORMS}; {part!r} is none of them")
    size, last, factor = bounded(found[1], found[2], part), bounded(found[3], found[4], part), int(found[5] or 2)
    if size > last or factor < 2:
        raise UsageError(f"--sizes {part}: a range goes upwards, by a factor of 2 or more")
    while size <= last:
        yield size
        size *= factor


def bounded(digits: str, unit: str, part: str) -> int:
    """Return a size; UsageError if it is 0 or beyond all memory."""
    size = int(digits) * UNITS[unit]
    if not 0 < size <= MOST:
        raise UsageError(f"--sizes {part}: a size is from 1 byte to {MOST >> 40} TiB")
    return size


def fitted(size: int, *, world: int, itemsize: int = 4) -> int:
    """Return the size that can be cut into equal whole parts for all ranks: as large as was asked for, or next below.
    """
    unit = world * itemsize
    return max(1, size // unit) * unit


def once(sizes: Iterable[int], world: int) -> dict[int, int]:
    """Return each size that is left when all have been cut, once, and what was asked for: one that was cut, if any."""
    found: dict[int, int] = {}
    for asked in sizes:
        size = fitted(asked, world=world)
        if asked != size or size not in found:
            found[size] = asked
    return found


def words(size: int) -> str:
    """Return a size as people write it: 16M, 1.5K, 100 B."""
    for unit in "GMK":
        if size >= UNITS[unit]:
            return f"{size / UNITS[unit]:.4g}{unit}"
    return f"{size} B"
