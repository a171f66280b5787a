"""What a search tries, when it stops, and which candidate it takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from dlcompare.inference.preparation.int8_search import Candidate, choose, excluding, passes

BASE = Candidate("", None, "mse")  # type: ignore[arg-type]
GROUPS = [frozenset({name, f"after {name}"}) for name in "abcdefgh"]

EVERY = frozenset().union(*GROUPS)


def row(verdict: str, *, share: float = 1.0, right: float = 0.9, noise: float = 20.0,
        speed: float = 1.0) -> dict[str, Any]:
    return {"int8_share": share, "right": right, "throughput": speed,
            "against_fp32": {"floor": {"verdict": verdict}, "sqnr_db": noise}}


def searched(needed: Collection[str]) -> list[tuple[int, bool]]:
    """Return how many names each candidate excludes, and whether it holds: if it excludes all that are needed."""
    tried: list[dict[str, Any]] = []
    found = []
    for candidate in excluding(BASE, GROUPS, tried, lambda names: len(EVERY - names)):
        holds = candidate.exclude >= set(needed)
        tried.append(row("pass" if holds else "fail"))
        found.append((len(candidate.exclude) // 2, holds))
    return found


@pytest.mark.parametrize("needed", ["a", "b", "c", "e", "g"])
def test_the_least_number_of_tensors_that_will_do_is_found(needed: str) -> None:
    held = [count for count, holds in searched(needed) if holds]
    assert min(held) == "abcdefgh".index(needed) + 1


def test_a_search_ends_before_nothing_is_left_in_int8() -> None:
    found = searched("h")
    assert [count for count, _ in found] == [1, 2, 4, 7] and not any(holds for _, holds in found)


def test_a_network_with_nothing_in_int8_is_no_success() -> None:
    alone = row("pass", share=0.0)
    assert not passes(alone) and choose([alone]) == (alone, False)
    nearest = row("fail", right=0.8)
    assert choose([row("fail", right=0.7), nearest, alone]) == (nearest, False)


def test_of_those_that_hold_the_most_in_int8_is_taken_and_not_the_fastest() -> None:
    most = row("pass", share=0.95, noise=21.0)
    rows = [row("fail"), row("pass", share=0.5, speed=9.0), row("pass", share=0.9501, noise=20.5, speed=2.0), most]
    assert choose(rows) == (most, True)
