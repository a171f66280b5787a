"""One thing that a verification compared, apart from what computes it, so that reading it loads no NumPy."""

from __future__ import annotations

from dataclasses import dataclass


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
