"""AMD GPUs: energy and power by ROCm's management library, through its own Python package amdsmi, each GPU a scope.

The counter is believed only if it agrees with the integral of power over a moment before the job: on boards of two dies
one counts for both and the other stands still, some drivers count in another unit than they say, and a guest of a
virtual machine has none (ROCm/amdsmi issue 38).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .meter import ENERGY, GAUGE, POWER, SERIES, TEMPERATURE, UTILISATION, Absent, Meter, Opened, Quantity
from .recording import Call, DriverError, driver, replaying

LOOKS, LOOK_SECONDS = 10, 0.05  # at power, while the counter is watched
AGREES = 0.25  # relative: both are of an idle board, whose power is small and coarse
POWERS = ("current_socket_power", "socket_power", "average_socket_power")  # of amdsmi_get_power_info, best first
NONE = "N/A"  # is what amdsmi says of a value that there is none of


def library() -> Call:
    """Return ROCm's library, open.

    Raises:
        Absent: the package, the library behind it or a driver is not here.
    """
    try:
        import amdsmi
    except Exception as error:  # without ROCm's library it raises what comes, a KeyError among others
        raise Absent(f"AMD's amdsmi cannot be imported where dlcompare is ({type(error).__name__}: {error}); it comes "
                     "with ROCm: pip install /opt/rocm/share/amd_smi") from error
    try:
        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except amdsmi.AmdSmiException as error:
        raise Absent(f"no AMD driver answers here: {one_line(error)}") from error
    return functools.partial(asked, amdsmi, handles)


def asked(module: Any, handles: Sequence[Any], name: str, *args: Any) -> Any:
    """Return what a function of amdsmi says of a GPU by its number; ``count`` is how many there are.

    Names of the package's constants stand for them: "AmdSmiTemperatureType.HOTSPOT".
    """
    if name == "count":
        return len(handles)
    number, *rest = args
    constants = [functools.reduce(getattr, one.split("."), module) if isinstance(one, str) else one for one in rest]
    try:
        return getattr(module, name)(handles[number], *constants)
    except module.AmdSmiException as error:
        code = error.get_error_code() if hasattr(error, "get_error_code") else 0
        raise DriverError(code, one_line(error)) from error


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class Gpus(Opened):
    """All GPUs that the driver lists, those left out that tell neither energy nor power."""

    def __init__(self, call: Call, *, clock: Callable[[], float] = time.monotonic,
                 nap: Callable[[float], None] = time.sleep) -> None:
        self.call = call
        self.absent: dict[str, str] = {}
        self.about: dict[str, Any] = {}
        self.devices: dict[str, list[str]] = {}
        self.found: list[tuple[int, Quantity]] = []
        numbers = range(call("count"))
        powers = {number: [power_of(call, number)] for number in numbers}
        told = trial(call, powers, clock, nap)
        for number in numbers:
            scope = f"amd gpu {number}"
            self.about[scope] = {"name": named(call, number)}
            self.devices[scope] = [name for name in (answer(call, f"amdsmi_get_gpu_device_{what}", number)
                                                     for what in ("uuid", "bdf")) if name]
            self._offer(number, scope, powers[number][0], told[number])
        self.quantities = [quantity for _, quantity in self.found]
        if not any(quantity.name in (ENERGY, POWER) for quantity in self.quantities):
            raise Absent("AMD's driver lists no GPU that tells its energy or power"
                         + "".join(f"; {key}: {why}" for key, why in self.absent.items()))

    def _offer(self, number: int, scope: str, power: float | None, trouble: str | None) -> None:
        offers = {Quantity(scope, ENERGY, "J"): trouble,
                  Quantity(scope, POWER, "W", GAUGE): None if power is not None else "the driver tells none",
                  Quantity(scope, TEMPERATURE, "degC", GAUGE): None, Quantity(scope, UTILISATION, "", GAUGE): None}
        for quantity, reason in offers.items():
            if reason is None and READ[quantity.name](self.call, number) is None:
                reason = "the driver tells none"
            if reason is None:
                self.found.append((number, quantity))
            else:
                self.absent[quantity.key] = reason

    def read(self) -> Sequence[float | None]:
        values = [READ[quantity.name](self.call, number) for number, quantity in self.found]
        for number in {number for number, _ in self.found}:
            if all(value is None for value, (other, _) in zip(values, self.found, strict=True) if other == number):
                self.absent.setdefault(f"amd gpu {number}", "it was lost while the job ran")
        return values


def trial(call: Call, powers: Mapping[int, list[float | None]], clock: Callable[[], float],
          nap: Callable[[float], None]) -> dict[int, str | None]:
    """Return why a GPU's counter is not to be believed, None if it is; ``powers`` get what was seen meanwhile."""
    before, begin = {number: energy_of(call, number) for number in powers}, clock()
    for _ in range(LOOKS):
        nap(LOOK_SECONDS)
        for number, seen in powers.items():
            seen.append(power_of(call, number))
    seconds = clock() - begin
    return {number: disbelief(before[number], energy_of(call, number), seen, seconds)
            for number, seen in powers.items()}


def disbelief(before: float | None, after: float | None, powers: Sequence[float | None],
              seconds: float) -> str | None:
    """Return why a counter that went from one value to another is not to be believed, None if it is."""
    known = [power for power in powers if power is not None]
    if before is None or after is None:
        return "the driver has no counter of energy"
    if not known:
        return "its counter could not be held against power, of which the driver tells none"
    counted, integrated = after - before, sum(known) / len(known) * seconds
    if abs(counted - integrated) <= AGREES * integrated:
        return None
    return (f"its counter told {counted:.4g} J in {seconds:.2f} s before the job, where its power came to "
            f"{integrated:.4g} J")


def answer(call: Call, name: str, *args: Any) -> Any:
    """Return what a driver says, None if it refuses or has none."""
    try:
        found = call(name, *args)
    except DriverError:
        return None
    return None if found == NONE else found


def number_in(found: Mapping[str, Any] | None, keys: Sequence[str]) -> float | None:
    """Return the first number that an answer holds under one of some keys."""
    values = [(found or {}).get(key) for key in keys]
    return next((float(value) for value in values if isinstance(value, (int, float))), None)


def named(call: Call, number: int) -> str | None:
    asic = answer(call, "amdsmi_get_gpu_asic_info", number)
    return asic and str(asic.get("market_name"))


def energy_of(call: Call, number: int) -> float | None:
    """Return the joules of a GPU's counter."""
    found = answer(call, "amdsmi_get_energy_count", number)
    ticks, microjoules = number_in(found, ("energy_accumulator", "power")), number_in(found, ("counter_resolution",))
    return None if ticks is None or microjoules is None else ticks * microjoules * 1e-6


def power_of(call: Call, number: int) -> float | None:
    """Return the watts of a GPU's socket."""
    return number_in(answer(call, "amdsmi_get_power_info", number), POWERS)


def temperature_of(call: Call, number: int) -> float | None:
    found = answer(call, "amdsmi_get_temp_metric", number, "AmdSmiTemperatureType.HOTSPOT",
                   "AmdSmiTemperatureMetric.CURRENT")
    return None if found is None else float(found)


def utilisation_of(call: Call, number: int) -> float | None:
    percent = number_in(answer(call, "amdsmi_get_gpu_activity", number), ("gfx_activity",))
    return None if percent is None else percent / 100


READ: dict[str, Callable[[Call, int], float | None]] = {
    ENERGY: energy_of, POWER: power_of, TEMPERATURE: temperature_of, UTILISATION: utilisation_of}


class Amd(Meter):
    """AMD GPUs by amdsmi."""

    name = "amd"
    title = "energy and power of AMD GPUs (amdsmi)"
    sort = SERIES
    shortest = 1.0

    def wanted(self, device: str) -> bool:
        return device == "cuda" and not replaying()  # frameworks call ROCm's devices so

    def open(self, device: str) -> Opened:
        return Gpus(driver(library))
