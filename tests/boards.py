"""NVIDIA boards as NVML shows them, for recordings: what the library would answer about a load that is known.

A board measures as Yang et al. 2024 found: every ``update`` seconds a value, the mean of the last ``window`` seconds;
its counter of energy adds up those values. Faults are of the kinds that drivers show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.launch.sampling import with_series
from dlcompare.core.meters.meter import Metered
from dlcompare.core.meters.nvidia import Gpus
from dlcompare.core.meters.recording import DriverError, recorded

NOT_SUPPORTED, LOST = 3, 15
POINTS = 8  # of a load, of which a mean is made


@dataclass
class Clock:
    """A clock that is put forward by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Board:
    """One or several GPUs under the same load, watts by seconds; ``clock`` is theirs.

    ``lost``: when each GPU falls off the bus, by number; ``refused``: fields and calls that the driver does not offer;
    ``module``: powers come with that scope alone; ``stuck`` and ``reset``: when the counter stops, and begins anew;
    ``parts``: into how many each is divided (MIG).
    """

    load: Callable[[float], float]
    clock: Callable[[], float]
    name: str = "NVIDIA H100 PCIe"
    count: int = 1
    update: float = 0.1
    window: float = 0.025
    lost: dict[int, float] = field(default_factory=dict)
    refused: Collection[int | str] = ()
    module: bool = False
    stuck: float | None = None
    reset: float | None = None
    parts: int = 0
    bias: float = 1.0  # of the counter against power
    sums: list[float] = field(default_factory=lambda: [0.0])

    def __call__(self, name: str, *args: Any) -> Any:
        if name == "nvmlSystemGetDriverVersion":
            return "550.54.15"
        if name == "nvmlDeviceGetCount":
            return self.count
        device = args[0]
        number = device if isinstance(device, int) else device[0]
        if self.clock() >= self.lost.get(number, float("inf")):
            raise DriverError(LOST, "GPU is lost")
        if name in self.refused:
            raise DriverError(NOT_SUPPORTED, "Not Supported")
        return getattr(self, name)(device, *args[1:])

    def nvmlDeviceGetUUID(self, device: int | list[int]) -> str:
        if isinstance(device, int):
            return f"GPU-0000000{device}-aaaa-bbbb-cccc-dddddddddddd"
        if device[1] >= self.parts:
            raise DriverError(6, "Not Found")
        return f"MIG-{device[0]}111111{device[1]}-aaaa-bbbb-cccc-dddddddddddd"

    def nvmlDeviceGetPciInfo(self, device: int) -> dict[str, Any]:
        return {"busId": f"00000000:{0x1b + device:02X}:00.0", "domain": 0}

    def nvmlDeviceGetName(self, device: int) -> str:
        return self.name

    def nvmlDeviceGetMigMode(self, device: int) -> list[int]:
        return [int(self.parts > 0)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, device: int) -> int:
        return 7

    def nvmlDeviceGetUtilizationRates(self, device: int) -> dict[str, int]:
        return {"gpu": 97 if self.load(self.clock()) > 100 else 0, "memory": 40}

    def nvmlDeviceGetMemoryInfo(self, device: int) -> dict[str, int]:
        return {"total": 80 << 30, "free": 70 << 30, "used": 10 << 30}

    def nvmlDeviceGetClockInfo(self, device: int, which: int) -> int:
        return {1: 1755, 2: 1593}[which]

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:
        return 31 + int(self.power(self.clock()) / 20)

    def nvmlDeviceGetEnforcedPowerLimit(self, device: int) -> int:
        return 350_000

    def nvmlDeviceGetCurrentClocksEventReasons(self, device: int) -> int:
        return 0x4 if self.load(self.clock()) > 300 else 0x1

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:
        return round(1000 * self.power(self.clock()))

    def nvmlDeviceGetFieldValues(self, device: int, asked: list[list[int]]) -> list[dict[str, Any]]:
        return [self.value(number, scope) for number, scope in asked]

    def value(self, number: int, scope: int) -> dict[str, Any]:
        now = self.clock()
        known = {186: lambda: 1000 * self.power(now), 185: lambda: 1000 * self.power(now, 1.0),
                 83: lambda: 1000 * self.joules(now), 82: lambda: 40, 197: lambda: 1e6 * now, 198: lambda: 2e6 * now,
                 138: lambda: 1e3 * now, 139: lambda: 1e3 * now}
        powers = number in (185, 186)
        fits = scope == (1 if self.module else 0) if powers else True
        offered = number in known and number not in self.refused and fits
        return {"field": number, "scope": scope, "return": 0 if offered else NOT_SUPPORTED,
                "value": round(known[number]()) if offered else None}

    def power(self, now: float, window: float | None = None) -> float:
        """Return the value that stands at a time: the mean of the load over the window before the last update."""
        last, window = int(now / self.update + 1e-9) * self.update, window or self.window
        noise = (int(last / self.update) * 7919 % 13) / 1000  # a board never gives one value twice
        return sum(self.load(last - window * point / POINTS) for point in range(POINTS)) / POINTS + noise

    def joules(self, now: float) -> float:
        """Return what the counter shows at a time."""
        now = min(now, self.stuck) if self.stuck is not None else now
        steps = int(now / self.update + 1e-9)
        while len(self.sums) <= steps:
            self.sums.append(self.sums[-1] + self.power(len(self.sums) * self.update) * self.update)
        found = self.sums[steps]
        if self.reset is not None and now >= self.reset:
            found -= self.sums[int(self.reset / self.update)]
        return 5e4 * (self.reset is None or now < self.reset) + found * self.bias


def job(begin: float, end: float, *, idle: float = 70.0, busy: float = 320.0) -> Callable[[float], float]:
    """Return a load that is busy from one time to another."""
    return lambda now: busy if begin <= now < end else idle


def record(board: Board, clock: Clock, file: Path, *, seconds: float, period: float = 0.05) -> Metered:
    """Let the real meter read a board until a time, write down what the board answered, and return what was read."""
    opened = Gpus(recorded(board, file, clock=clock), clock=clock, nap=clock.nap)
    readings: list[Any] = []
    while clock.now < seconds:
        readings.append([clock.now, 0, opened.read()])
        clock.now += period
    metered = Metered("nvidia", "series", shortest=1.0, absent=opened.absent, about=opened.about,
                      devices={scope: tuple(names) for scope, names in opened.devices.items()},
                      quantities=tuple(opened.quantities))
    return with_series(metered, readings)
