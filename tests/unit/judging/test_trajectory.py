"""Losses that part are told apart from losses that rounding alone sets apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dlcompare.core.judging.trajectory import BOUND, SLACK, trajectory


def side(name: str, losses: list[float], moved: dict[int, float] | None = None) -> Any:
    return SimpleNamespace(run="r", id=name, losses=lambda: dict(enumerate(losses)),
                           moved_by_rounding=lambda: moved or {})


def judged(ours: list[float], theirs: list[float], moved: dict[int, float] | None = None) -> Any:
    return trajectory([side("a", ours, moved), side("b", theirs, moved)])


def test_losses_that_stay_together_need_no_explanation() -> None:
    found = judged([4.0, 3.0, 2.0], [4.0, 3.1, 2.1])
    assert found.parted is None and found.unexplained is None


def test_losses_that_part_are_not_explained_where_nothing_was_tried() -> None:
    found = judged([4.0, 3.0, 2.0], [4.0, 3.1, 2.5])
    assert found.parted == 2 and found.unexplained == 2 and found.worst == 2


def test_rounding_that_moves_the_loss_as_far_explains_it_and_all_that_follows() -> None:
    found = judged([4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.5, 3.0], {0: 1e-6, 1: 1e-3, 2: 0.5 / SLACK})
    assert found.parted == 2 and found.unexplained is None


def test_rounding_that_hardly_moves_the_loss_explains_nothing() -> None:
    found = judged([4.0, 3.0, 2.0], [4.0, 3.0, 2.5], {0: 1e-6, 1: 1e-6, 2: 1e-3})
    assert found.unexplained == 2


def test_a_step_is_not_excused_by_what_rounding_does_later() -> None:
    found = judged([4.0, 3.0, 2.0], [4.0, 3.4, 2.0], {0: 1e-6, 1: 1e-6, 2: 4 * BOUND})
    assert found.unexplained == 1


@pytest.mark.parametrize("losses", [[], [4.0]])
def test_one_step_is_no_trajectory(losses: list[float]) -> None:
    assert judged(losses, losses) is None
