"""Payloads show who moved what wrongly, exactly, for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from dlcompare.core.kinds.comm.payload import EXACT, check, given, period, weight
from dlcompare.core.plugins.collectives import ALL_GATHER, ALL_REDUCE, BROADCAST, COLLECTIVES, REDUCE_SCATTER


def results(collective: str, size: int, world: int, turn: int) -> list[np.ndarray]:
    """Return what each rank gets of a collective that works, by NumPy in float32, summed in rank order."""
    payloads = [given(collective, size, rank=rank, world=world, turn=turn) for rank in range(world)]
    if collective == ALL_GATHER:
        return [np.concatenate(payloads)] * world
    if collective == BROADCAST:
        return [payloads[0]] * world
    total = np.add.reduce(payloads, dtype=np.float32)
    return np.split(total, world) if collective == REDUCE_SCATTER else [total] * world


@pytest.mark.parametrize("world", [2, 3, 8, 64])
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_right_results_are_right_on_every_rank_and_turn(collective: str, world: int) -> None:
    size = 4 * world * 400
    for turn in (0, 1):
        for rank, found in enumerate(results(collective, size, world, turn)):
            assert check(found, collective, size, rank=rank, world=world, turn=turn) is None


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_one_wrong_value_is_found_wherever_it_is(collective: str) -> None:
    size = 4 * 2 * 700_000  # several blocks of comparison
    right = results(collective, size, 2, 0)[1]
    for position in (0, 8190, 8191, right.size // 2, right.size - 1):
        for value in (right[position] + 1, np.nan, 0.0):
            wrong = right.copy()
            wrong[position] = value
            found = check(wrong, collective, size, rank=1, world=2, turn=0)
            assert found and (found.values, found.position, found.rank) == (1, position, 1)
            assert found.wanted == right[position]


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_result_left_from_the_turn_before_is_wrong_everywhere(collective: str) -> None:
    size = 4 * 2 * 20_000
    for rank, found in enumerate(results(collective, size, 2, 0)):
        wrong = check(found, collective, size, rank=rank, world=2, turn=1)
        assert wrong and wrong.values == found.size


def test_ranks_that_are_missing_or_mistaken_and_parts_that_are_swapped_are_wrong() -> None:
    size, world = 4 * 3 * 10_000, 3
    one, two, three = (given(ALL_REDUCE, size, rank=rank, world=world, turn=0) for rank in range(3))
    for total in (one + two, one + two + two, one + one + three, two + three, 3 * two + one):
        assert check(total, ALL_REDUCE, size, rank=0, world=world, turn=0), "a sum of other ranks passed"
    parts = results(REDUCE_SCATTER, size, world, 0)
    assert check(parts[1], REDUCE_SCATTER, size, rank=0, world=world, turn=0)
    gathered = results(ALL_GATHER, size, world, 0)[0]
    swapped = np.concatenate(np.split(gathered, 3)[::-1])
    assert check(swapped, ALL_GATHER, size, rank=0, world=world, turn=0)
    assert check(np.roll(one, 1), BROADCAST, size, rank=2, world=world, turn=0)
    assert check(two, BROADCAST, size, rank=1, world=world, turn=0), "what a rank had before passed as the root's"
    assert check(gathered[:-1], ALL_GATHER, size, rank=0, world=world, turn=0)


def test_sums_stay_exact_or_are_refused() -> None:
    for world in (2, 16, 64, 500):
        assert period(world) * weight(world) <= EXACT
    with pytest.raises(ValueError, match="no longer exact"):
        period(5000)
