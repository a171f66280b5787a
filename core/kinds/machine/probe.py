"""What a probe is: something that moves bytes again and again, in windows that the machine is watched through."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dlcompare.core.errors import DlcompareError


class Absent(DlcompareError):
    """This machine has nothing that could be measured, and why."""


@dataclass(frozen=True)
class Probe:
    """Moves ``amount`` bytes a step; ``take`` does so many steps and returns the seconds that count.

    ``by`` is what does it, ``version`` of what, ``size`` the bytes it goes over, ``state`` what it found.
    """

    take: Callable[[int], float]
    amount: int
    by: str
    version: str = ""
    size: int | None = None
    state: str = ""


def steadily(once: Callable[[], object]) -> Callable[[int], float]:
    """Return a ``take`` that calls a function again and again and counts all of the time."""
    def take(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            once()
        return time.perf_counter() - begin

    return take
