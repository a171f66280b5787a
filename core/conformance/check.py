"""One thing that a verification compared, and what it expected, apart from what computes them: loads no NumPy."""

from __future__ import annotations

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
class Expected:
    """What the reference shows on a case, the size of each quantity, and how far it may be off relative to that."""

    exact: Arrays
    size: dict[str, float]
    allowed: dict[str, float]
