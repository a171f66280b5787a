"""The meters that come with dlcompare."""

from __future__ import annotations

from dlcompare.core import hookimpl

from .amd import Amd
from .host.events import Events
from .host.network import Network
from .host.processors import Processors, Usage
from .host.state import Clock, Memory
from .host.storage import Storage
from .meter import Meter
from .nvidia import Nvidia
from .rapl import Rapl


@hookimpl
def dlcompare_meters() -> list[Meter]:
    return [Rapl(), Nvidia(), Amd(), Processors(), Usage(), Events(), Storage(), Network(), Memory(), Clock()]
