"""What a framework costs before it is at speed, and after how many steps a slow starter has caught up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dlcompare.core.records import stats

from .verdict import Side


@dataclass(frozen=True)
class ColdStart:
    """Seconds by phase until steps take as long as they will, and seconds per step of ``batch`` samples from then on.

    ``compile`` is what the warm-up steps took beyond a steady one: compilation, tuning, first allocations.
    """

    phases: Mapping[str, float]
    step: float

    @property
    def total(self) -> float:
        return sum(self.phases.values())


def cold_start(side: Side, *, batch: int) -> ColdStart | None:
    """Return a side's cold start, medians over its rounds; None if nothing ran, or no phase is known.

    ``batch`` makes steps comparable.
    """
    records, throughput = side.good or side.ran, side.throughput
    if not records or throughput is None:
        return None
    each = [record.phases() for record in records]
    names = dict.fromkeys(name for one in each for name in one)
    if not names:
        return None
    return ColdStart({name: stats.median([one.get(name, 0.0) for one in each]) for name in names}, batch / throughput)



@dataclass(frozen=True)
class Overtaking:
    """Who is ahead in a race from a cold start: ``always``, ``never``, or only ``after`` or ``until`` so many steps."""

    ahead: str
    steps: int | None = None
    seconds: float | None = None


def overtaking(one: ColdStart, base: ColdStart) -> Overtaking:
    """Return when ``one`` is ahead of ``base``: cold + n x step is the same for both at n steps."""
    late, gain = one.total - base.total, base.step - one.step
    if late * gain <= 0:
        return Overtaking("always" if late < 0 or gain > 0 else "never")
    steps = math.ceil(late / gain)
    return Overtaking("after" if gain > 0 else "until", steps, one.total + steps * one.step)
