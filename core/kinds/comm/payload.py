"""Payloads that tell on whoever moves them wrongly: values that show rank, position and turn, exact in float32."""

from __future__ import annotations

import numpy as np

from dlcompare.core.plugins.collectives import ALL_GATHER, BROADCAST, DTYPE, REDUCE_SCATTER

from .result import Wrong

EXACT = 1 << 24  # whole numbers up to here have a float32 of their own
PERIODS = (8191, 2039, 509, 127, 31)  # primes: no part of a buffer begins where a value comes again
TURNS = 2
STEP = 17  # positions that a turn's values are shifted by, so that each differs from the turn's before
ROWS = 64  # periods compared at a time


def period(world: int) -> int:
    """Return after how many positions values come again: as many as sums over so many ranks can tell exactly.

    Raises:
        ValueError: more ranks than that is possible for.
    """
    found = next((one for one in PERIODS if one * weight(world) <= EXACT), None)
    if found is None:
        raise ValueError(f"sums over {world} ranks are no longer exact in {DTYPE}")
    return found


def weight(world: int) -> int:
    """Return what a sum over all ranks is of the first rank's value."""
    return world * (world + 1) // 2


def values(count: int, *, world: int, turn: int, begin: int = 0) -> np.ndarray:
    """Return what rank 0 gives at so many positions from ``begin`` on; rank r gives r + 1 times as much."""
    cycle = period(world)
    row = np.arange(1, cycle + 1, dtype=DTYPE)
    return np.resize(np.roll(row, -(begin + STEP * turn) % cycle), count)


def given(collective: str, size: int, *, rank: int, world: int, turn: int) -> np.ndarray:
    """Return what a rank gives to a collective of ``size`` bytes: all of them, to all_gather its part."""
    count = size // np.dtype(DTYPE).itemsize
    count = count // world if collective == ALL_GATHER else count
    return values(count, world=world, turn=turn) * np.float32(rank + 1)


def check(result: np.ndarray, collective: str, size: int, *, rank: int, world: int, turn: int) -> Wrong | None:
    """Return what is wrong with a rank's result, None if nothing is."""
    count = size // np.dtype(DTYPE).itemsize
    part = count // world
    pieces = {  # where the positions of each piece of the result begin, how many there are, times what
        BROADCAST: [(0, count, 1)],
        ALL_GATHER: [(0, part, other + 1) for other in range(world)],
        REDUCE_SCATTER: [(rank * part, part, weight(world))],
    }.get(collective, [(0, count, weight(world))])
    if result.shape != (wanted := sum(length for _, length, _ in pieces),):
        return Wrong(rank, wanted, 0, float(result.size), float(wanted), turn)
    place, number, first = 0, 0, None
    for begin, length, times in pieces:
        if found := differing(result[place:place + length], begin, times, world=world, turn=turn):
            number += found[0]
            first = first or (place + found[1], *found[2:])
        place += length
    return Wrong(rank, number, *first, turn) if first else None


def differing(piece: np.ndarray, begin: int, times: int, *, world: int,
              turn: int) -> tuple[int, int, float, float] | None:
    """Return how many values of a piece differ, the first's position, it and what it should be; None if none does."""
    block = period(world) * ROWS
    row = values(min(block, piece.size), world=world, turn=turn, begin=begin) * np.float32(times)
    number, first = 0, None
    for start in range(0, piece.size, block):
        part = piece[start:start + block]
        unequal = part != row[:part.size]  # NaN is unequal to anything
        if found := int(np.count_nonzero(unequal)):
            number += found
            at = int(np.argmax(unequal))
            first = first or (start + at, float(part[at]), float(row[at]))
    return (number, *first) if first else None
