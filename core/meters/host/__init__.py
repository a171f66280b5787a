"""Meters of the host: processor time, hardware events, storage, network, memory and clock."""

from __future__ import annotations

from dlcompare.core import hookimpl
from dlcompare.core.meters.meter import Meter


@hookimpl
def dlcompare_meters() -> list[Meter]:
    from .events import Events
    from .network import Network
    from .processors import Processors, Usage
    from .state import Clock, Memory
    from .storage import Storage

    return [Processors(), Usage(), Events(), Storage(), Network(), Memory(), Clock()]
