"""The meters of this process that are read around windows: opened once, read twice a window, never in a run's way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dlcompare.core.meters.held import Held, Values
from dlcompare.core.meters.meter import ENERGY, WINDOW, Meter, Metered, difference
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import RANK_IN

T = TypeVar("T")


@dataclass(frozen=True)
class Used:
    """What a window used: ``joules`` by scope; of all other counters what they grew by, by ``Quantity.key``."""

    joules: dict[str, float] = field(default_factory=dict)
    counted: dict[str, float] = field(default_factory=dict)


class Metering:
    """Meters that are open in this process.

    Rank 0 reads all that they offer, other ranks what is of their own process alone. A meter that raises is told of in
    :meth:`metered` and read no more.
    """

    def __init__(self, meters: Iterable[Meter], device: str, *, rank: int = 0) -> None:
        self.rank, self.counting = rank, False
        self.held = {meter.name: Held(meter, device) for meter in meters}

    @property
    def disturbing(self) -> bool:
        """Return whether there is a meter that disturbs, and so counts in a window of its own."""
        return any(one.opened and one.metered.apart for one in self.held.values())

    def apart(self, take: Callable[[], T]) -> T:
        """Take a window in which meters that disturb count, and are read; in others they are neither."""
        self._count(on=True)
        try:
            return take()
        finally:
            self._count(on=False)

    def _count(self, *, on: bool) -> None:
        self.counting = on
        for one in self.held.values():
            one.count(on=on)

    def read(self) -> dict[str, Values]:
        """Return what every meter reads now, by its name; one that cannot be read is left out, from then on."""
        mine = {name: one for name, one in self.held.items()
                if (self.counting or not one.metered.apart)
                and (not self.rank or any(quantity.own for quantity in one.metered.quantities))}
        return {name: found for name, one in mine.items() if (found := one.read()) is not None}

    def used(self, before: Mapping[str, Values], after: Mapping[str, Values]) -> Used:
        """Return what was used between two readings; what was not read at both ends is left out."""
        joules, counted = dict[str, float](), dict[str, float]()
        for name in before.keys() & after.keys():
            quantities = self.held[name].metered.quantities
            for quantity, first, last in zip(quantities, before[name], after[name], strict=True):
                grown = difference(quantity, first, last)
                if grown is None or (self.rank and not quantity.own):
                    continue
                energy = quantity.name == ENERGY and quantity.unit == "J"
                (joules if energy else counted)[quantity.scope if energy else quantity.key] = grown
        return Used(joules, counted)

    def metered(self) -> tuple[Metered, ...]:
        """Return what a record holds of these meters."""
        return tuple(one.metered for one in self.held.values())

    def close(self) -> None:
        """Give the meters back."""
        for one in self.held.values():
            one.close()


def metering(device: str) -> Metering:
    """Open the meters that this process reads around its windows; call it before a framework starts its threads."""
    told = os.environ.get(os.environ.get(RANK_IN, ""), "")
    wanted = [meter for meter in plugins().meters().values() if meter.sort == WINDOW and meter.wanted(device)]
    return Metering(wanted, device, rank=int(told) if told.isdigit() else 0)
