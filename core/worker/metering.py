"""The meters of this process that are read around windows: opened once, read twice a window, never in a run's way."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dlcompare.core.meters.meter import ENERGY, WINDOW, Absent, Meter, Metered, Opened, difference
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import RANK_IN

Values = Mapping[str, tuple[float | None, ...]]  # by meter


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
        self.rank = rank
        self.opened: dict[str, Opened] = {}
        self.known: dict[str, Metered] = {}
        for meter in meters:
            self._open(meter, device)

    def _open(self, meter: Meter, device: str) -> None:
        blank = Metered(meter.name, meter.sort, shortest=meter.shortest)
        try:
            found = meter.open(device)
        except Absent as error:
            self.known[meter.name] = dataclasses.replace(blank, reason=str(error))
        except Exception as error:  # a plug-in's may raise anything
            self.known[meter.name] = dataclasses.replace(blank, reason=broken(error))
        else:
            self.opened[meter.name] = found
            self.known[meter.name] = dataclasses.replace(
                blank, absent=dict(found.absent), about=dict(found.about), quantities=tuple(found.quantities),
                devices={scope: tuple(names) for scope, names in found.devices.items()})

    def read(self) -> Values:
        """Return what every meter reads now; one that cannot be read is left out, from then on."""
        return {name: found for name in list(self.opened) if (found := self._read(name)) is not None}

    def _read(self, name: str) -> tuple[float | None, ...] | None:
        meter, quantities = self.opened[name], self.known[name].quantities
        if self.rank and not any(one.own for one in quantities):
            return None
        try:
            found = tuple(meter.read())
            if len(found) != len(quantities):
                raise ValueError(f"it gave {len(found)} values for {len(quantities)} quantities")
        except Exception as error:
            self.known[name] = dataclasses.replace(self.known[name], lost=broken(error))
            del self.opened[name]
            return None
        return found

    def used(self, before: Values, after: Values) -> Used:
        """Return what was used between two readings; what was not read at both ends is left out."""
        joules, counted = dict[str, float](), dict[str, float]()
        for name in before.keys() & after.keys():
            for quantity, first, last in zip(self.known[name].quantities, before[name], after[name], strict=True):
                grown = difference(quantity, first, last)
                if grown is None or (self.rank and not quantity.own):
                    continue
                energy = quantity.name == ENERGY and quantity.unit == "J"
                (joules if energy else counted)[quantity.scope if energy else quantity.key] = grown
        return Used(joules, counted)

    def metered(self) -> tuple[Metered, ...]:
        """Return what a record holds of these meters."""
        return tuple(self.known.values())

    def close(self) -> None:
        """Give the meters back."""
        for meter in self.opened.values():
            with_patience(meter)
        self.opened.clear()


def with_patience(meter: Opened) -> None:
    """Close a meter, whatever that raises: the run is over."""
    try:
        meter.close()
    except Exception as error:
        print(f"a meter could not be closed: {broken(error)}", flush=True)


def broken(error: Exception) -> str:
    """Return what went wrong in a meter, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def metering(device: str) -> Metering:
    """Open the meters that this process reads around its windows; call it before a framework starts its threads."""
    told = os.environ.get(os.environ.get(RANK_IN, ""), "")
    wanted = [meter for meter in plugins().meters().values() if meter.sort == WINDOW and meter.wanted(device)]
    return Metering(wanted, device, rank=int(told) if told.isdigit() else 0)
