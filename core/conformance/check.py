"""One thing that a verification compared, and what it expected, apart from what computes them: loads no NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays


@dataclass(frozen=True)
class Check:
    """One compared quantity: ``error`` and ``allowed`` are Euclidean norms, relative to that of the reference."""

    case: str
    quantity: str  # activation/NODE, gradient/PARAM, loss, parameter/PARAM, evaluation/OUTPUT, clock
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.allowed)  # False for NaN


@dataclass(frozen=True)
class Closest(Check):
    """The check that came closest to its tolerance, or missed it by most; ``count``: of how many."""

    count: int = 1


def closest(checks: Sequence[Check]) -> Closest:
    """Return the closest of some checks, which shows whether all passed."""
    one = max(checks, key=used_up)
    return Closest(one.case, one.quantity, one.error, one.allowed, len(checks))


def used_up(check: Check) -> float:
    """Return how much of its tolerance a check used up."""
    return check.error / check.allowed if check.allowed and check.error == check.error else math.inf


@dataclass(frozen=True)
class Expected:
    """What the reference shows on a case, the size of each quantity, and how far it may be off relative to that."""

    exact: Arrays
    size: dict[str, float]
    allowed: dict[str, float]
