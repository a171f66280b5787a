"""NVIDIA GPUs: energy and power, what they did and what held them back, by NVML (``nvml``), each GPU a scope.

Power comes as the driver has it: an instantaneous field and one averaged over a second (Hopper and Ada), one alone
before that. Both are of the GPU where the driver gives that scope, else of the module, which holds memory and more.
Many boards look at their power part of the time only: see ``board``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import nvml, series
from .board import duty
from .meter import (
    COUNTER,
    ENERGY,
    GAUGE,
    HELD_BACK,
    POWERS,
    SERIES,
    TEMPERATURE,
    UTILISATION,
    Absent,
    Meter,
    Opened,
    Quantity,
)
from .recording import Call, DriverError, driver, replaying

INSTANT, AVERAGE, TOTAL_ENERGY, MEMORY_TEMPERATURE = 186, 185, 83, 82  # NVML_FI_DEV_*
PCIE_SENT, PCIE_RECEIVED, NVLINK_SENT, NVLINK_RECEIVED = 197, 198, 138, 139
SCOPES = {0: "GPU", 1: "module"}  # NVML_POWER_SCOPE_*, in the order that is tried
ALL_LINKS = 0xFFFFFFFF
SM_CLOCK, MEMORY_CLOCK, ON_DIE = 1, 2, 0
SELDOM = 10  # what moves slowly, or takes long to ask, is asked every so many readings
LOOKS, LOOK_SECONDS, LOOKING_SECONDS = 300, 0.002, 1.0  # at fields, to see how often they change


@dataclass(frozen=True)
class Source:
    """Where a quantity comes from: an NVML call and its arguments, the key or field in the answer, a factor to units.

    ``field`` is (field, scope) for a value of nvmlDeviceGetFieldValues.
    """

    quantity: Quantity
    call: str = ""
    args: tuple[Any, ...] = ()
    key: str = ""
    field: tuple[int, int] | None = None
    factor: float = 1.0


class Gpus(Opened):
    """All GPUs that the driver lists, read together."""

    def __init__(self, call: Call, *, clock: Callable[[], float] = time.monotonic,
                 nap: Callable[[float], None] = time.sleep) -> None:
        self.call, self.count = call, 0
        self.absent: dict[str, str] = {}
        self.about: dict[str, Any] = {"driver": answer(call, "nvmlSystemGetDriverVersion")}
        self.devices: dict[str, list[str]] = {}
        self.fast: dict[int, list[Source]] = {}
        self.slow: dict[int, list[Source]] = {}
        self.kept: dict[str, float | None] = {}  # of slow ones, from one time to the next
        for number in range(call("nvmlDeviceGetCount")):
            self._find(number)
        if not self.fast:
            raise Absent("NVIDIA's driver lists no GPU that answers" + "".join(f"; {scope}: {why}" for scope, why
                                                                               in self.absent.items()))
        self.quantities = [one.quantity for found in (self.fast, self.slow) for each in found.values() for one in each]
        periods = look(call, self.fast, clock, nap)
        for number in self.fast:
            self._judge(number, periods)

    def _find(self, number: int) -> None:
        scope = f"gpu {number}"
        try:
            self.devices[scope] = [self.call("nvmlDeviceGetUUID", number),
                                   self.call("nvmlDeviceGetPciInfo", number)["busId"]]
            self.about[scope] = {"name": self.call("nvmlDeviceGetName", number)}
        except DriverError as error:
            self.absent[scope] = error.text
            return
        instances = parts(self.call, number)
        self.devices[scope] += instances
        self.about[scope] |= {"mig": len(instances)}
        self.fast[number], missing = powers(self.call, number, scope)
        self.slow[number], more = others(self.call, number, scope)
        self.absent |= missing | more
        self.about[scope]["power_scopes"] = {one.quantity.name: SCOPES[one.field[1]] for one in self.fast[number]
                                             if one.field and one.quantity.unit == "W"}

    def _judge(self, number: int, periods: Mapping[str, float | None]) -> None:
        about = self.about[f"gpu {number}"]
        for source in self.fast[number]:
            period = periods.get(source.quantity.key)
            about.setdefault("update_s", {})[source.quantity.name] = period
            if source.quantity.unit == "W":
                about.setdefault("published", {})[source.quantity.name] = duty(about["name"], source.quantity.name)

    def read(self) -> Sequence[float | None]:
        found = values(self.call, self.fast)
        if self.count % SELDOM == 0:
            self.kept = values(self.call, self.slow)
        self.count += 1
        now = {**found, **self.kept}
        for number in self.fast:
            self._miss(number, now)
        return [now[one.key] for one in self.quantities]

    def _miss(self, number: int, now: dict[str, float | None]) -> None:
        """Say why a GPU that gave its power before gives nothing any more."""
        scope = f"gpu {number}"
        if self.fast[number] and all(now[one.quantity.key] is None for one in self.fast[number]):
            for one in self.slow[number]:
                now[one.quantity.key] = None  # what was kept of it is old
            if scope not in self.absent:
                self.absent[scope] = reason(self.call, number)


def reason(call: Call, number: int) -> str:
    """Return why a GPU does not answer."""
    try:
        call("nvmlDeviceGetPowerUsage", number)
    except DriverError as error:
        return f"it was lost while the job ran: {error.text}"
    return "its power could not be read any more while the job ran"


def answer(call: Call, name: str, *args: Any) -> Any:
    """Return what a driver says, None if it refuses."""
    try:
        return call(name, *args)
    except DriverError:
        return None


def parts(call: Call, number: int) -> list[str]:
    """Return the UUIDs of the parts that a GPU is divided into (MIG)."""
    mode = answer(call, "nvmlDeviceGetMigMode", number)
    if not mode or not mode[0]:
        return []
    count = answer(call, "nvmlDeviceGetMaxMigDeviceCount", number) or 0
    found = (answer(call, "nvmlDeviceGetUUID", [number, instance]) for instance in range(count))
    return [uuid for uuid in found if uuid]


def powers(call: Call, number: int, scope: str) -> tuple[list[Source], dict[str, str]]:
    """Return where a GPU's energy and powers come from, as far as its driver has them, and what is absent and why."""
    energy = Source(Quantity(scope, ENERGY, "J"), field=(TOTAL_ENERGY, 0), factor=1e-3)
    found, absent = offered(call, number, [energy])
    for name, field in ((POWERS[0], INSTANT), (POWERS[1], AVERAGE)):
        tries = [Source(Quantity(scope, name, "W", GAUGE), field=(field, kind), factor=1e-3) for kind in SCOPES]
        working, missing = offered(call, number, tries)
        found += working[:1]
        absent |= {} if working else missing
    if not any(one.quantity.unit == "W" for one in found):
        usage = Source(Quantity(scope, POWERS[2], "W", GAUGE), "nvmlDeviceGetPowerUsage", factor=1e-3)
        working, missing = offered(call, number, [usage])
        found, absent = [*found, *working], absent | missing
    return found, absent


def others(call: Call, number: int, scope: str) -> tuple[list[Source], dict[str, str]]:
    """Return where the rest comes from: utilisation, memory, clocks, temperature, limits, traffic."""
    def gauge(name: str, unit: str, ask: str, *args: Any, key: str = "", factor: float = 1.0) -> Source:
        return Source(Quantity(scope, name, unit, GAUGE), ask, args, key, factor=factor)

    def traffic(name: str, field: tuple[int, int], factor: float = 1.0) -> Source:
        return Source(Quantity(scope, name, "B", COUNTER), field=field, factor=factor)

    rates, memory = "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo"
    return offered(call, number, [
        gauge(UTILISATION, "", rates, key="gpu", factor=0.01),
        gauge("memory utilisation", "", rates, key="memory", factor=0.01),
        gauge("memory", "B", memory, key="used"),
        gauge("SM clock", "Hz", "nvmlDeviceGetClockInfo", SM_CLOCK, factor=1e6),
        gauge("memory clock", "Hz", "nvmlDeviceGetClockInfo", MEMORY_CLOCK, factor=1e6),
        gauge(TEMPERATURE, "degC", "nvmlDeviceGetTemperature", ON_DIE),
        Source(Quantity(scope, "memory temperature", "degC", GAUGE), field=(MEMORY_TEMPERATURE, 0)),
        gauge("power limit", "W", "nvmlDeviceGetEnforcedPowerLimit", factor=1e-3),
        gauge(HELD_BACK, "", "nvmlDeviceGetCurrentClocksEventReasons"),
        traffic("PCIe sent", (PCIE_SENT, 0)), traffic("PCIe received", (PCIE_RECEIVED, 0)),
        traffic("NVLink sent", (NVLINK_SENT, ALL_LINKS), 1024.0),
        traffic("NVLink received", (NVLINK_RECEIVED, ALL_LINKS), 1024.0)])


def offered(call: Call, number: int, tried: Iterable[Source]) -> tuple[list[Source], dict[str, str]]:
    """Return those sources that have a value, and why the others have none, by key."""
    working, absent = list[Source](), dict[str, str]()
    for one in tried:
        try:
            value_of(one, call, number)
            working.append(one)
        except DriverError as error:
            absent[one.quantity.key] = error.text
    return working, absent


def value_of(source: Source, call: Call, number: int) -> float:
    """Return a value, asked for alone; DriverError if there is none."""
    if source.field:
        got = call("nvmlDeviceGetFieldValues", number, [list(source.field)])[0]
        if got["return"] != 0:
            raise DriverError(got["return"], f"NVML refuses field {source.field[0]} with code {got['return']}")
        return got["value"] * source.factor
    got = call(source.call, number, *source.args)
    return (got[source.key] if source.key else got) * source.factor


def values(call: Call, sources: Mapping[int, Sequence[Source]]) -> dict[str, float | None]:
    """Return the values of some sources by key, fields of a GPU in one call; None for what is refused now."""
    found: dict[str, float | None] = {}
    for number, each in sources.items():
        fields = [one for one in each if one.field]
        asked = [list(one.field) for one in fields if one.field]
        got = answer(call, "nvmlDeviceGetFieldValues", number, asked) if asked else []
        for one, told in zip(fields, got or [{"return": -1}] * len(fields), strict=True):
            found[one.quantity.key] = told["value"] * one.factor if told["return"] == 0 else None
        told_once: dict[str, Any] = {}
        for one in (one for one in each if not one.field):
            place = f"{one.call} {one.args}"
            if place not in told_once:
                told_once[place] = answer(call, one.call, number, *one.args)
            raw = told_once[place]
            raw = raw[one.key] if raw is not None and one.key else raw
            found[one.quantity.key] = None if raw is None else raw * one.factor
    return found


def look(call: Call, sources: Mapping[int, Sequence[Source]], clock: Callable[[], float],
         nap: Callable[[float], None]) -> dict[str, float | None]:
    """Return every how many seconds energy and powers change, looked at closely before the job; None: cannot be told.
    """
    begin, seen = clock(), dict[str, list[tuple[float, float | None]]]()
    for _ in range(LOOKS):
        found = values(call, sources)
        now = clock()
        for key, value in found.items():
            seen.setdefault(key, []).append((now, value))
        if now - begin > LOOKING_SECONDS:
            break
        nap(LOOK_SECONDS)
    made = {key: series.compact(key, readings) for key, readings in seen.items()}
    return {key: series.update_period(one) if one else None for key, one in made.items()}


class Nvidia(Meter):
    """NVIDIA GPUs by NVML."""

    name = "nvidia"
    title = "energy, power, clocks and traffic of NVIDIA GPUs (NVML)"
    sort = SERIES
    shortest = 1.0

    def wanted(self, device: str) -> bool:
        return device == "cuda" or replaying()

    def open(self, device: str) -> Opened:
        return Gpus(driver(nvml.library))
