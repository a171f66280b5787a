"""Joules of processors and their memory (RAPL): by perf's power events, which have 64 bits, or by Linux's powercap.

The memory's energy (DRAM) is no part of its package's, so each is a scope of its own; cores and graphics are parts of
the package and are not read. The whole platform's (psys) holds all of these, so it is no scope of energy but a counter
apart. AMD's processors have packages under the same names. Source: Linux, Documentation/power/powercap and
arch/x86/events/rapl.c.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .host.perf import Event, Perf, refusal
from .meter import ENERGY, Absent, Meter, Opened, Quantity

POWERCAP, PMU = Path("sys/class/powercap"), Path("sys/bus/event_source/devices/power")
DRAM, PSYS = "dram", "psys"
EVENTS = {"energy-pkg": "cpu", "energy-ram": DRAM, "energy-psys": PSYS}
MOST_WATTS = {"cpu": 1000.0, DRAM: 1000.0, PSYS: 5000.0}  # nothing of today draws as much
STANDS_STILL = 0.02  # seconds: a counter moves on about every millisecond
BREAK = 1e10  # joules: by which a sum falls back where some may have been lost
DENIED = ("only root may read {file}, since CVE-2020-8694; allow it with: sudo chmod -R a+r /{powercap}, or perf's "
          "power events with: sudo sysctl kernel.perf_event_paranoid=0")
Clock = Callable[[], float]  # seconds
NONE = ("this system has no {folder}/intel-rapl:*, where Linux counts a processor's energy: virtual machines have "
        "none; on hardware, load the kernel's module intel_rapl_msr")


@dataclass(frozen=True)
class Zone:
    """A counter of energy: its scope, how its joules are read now (None: they cannot be), at which it begins anew."""

    scope: str
    joules: Callable[[], float | None]
    wraps: float | None = None

    @property
    def quantity(self) -> Quantity:
        """Return what a meter calls it; the platform's, of which all others are parts, is in no sum of energies."""
        return Quantity(self.scope, "platform energy" if self.scope == PSYS else ENERGY, "J")


class Tally:
    """Adds up a zone's joules over any time, if it is asked often enough to see each time the counter begins anew.

    Where it may have begun anew unseen, the sum falls below what it was: to a window over that it looks reset, and so
    it is. While the counter stands still there is no sum.
    """

    def __init__(self, zone: Zone, clock: Clock) -> None:
        self.zone, self.clock, self.lock = zone, clock, threading.Lock()
        self.most_watts = MOST_WATTS[zone.scope.partition(" ")[0]]
        self.total, self.last, self.at, self.moved = 0.0, zone.joules(), clock(), clock()

    @property
    def patience(self) -> float:
        """Return the seconds after which the counter may have begun anew twice."""
        return self.zone.wraps / self.most_watts if self.zone.wraps else float("inf")

    def read(self) -> float | None:
        """Return the joules since the beginning; None if they cannot be read or stand still."""
        with self.lock:
            now, raw = self.clock(), self.zone.joules()
            if raw is None:
                return None
            if self.last is None or now - self.at >= self.patience or (raw < self.last and self.zone.wraps is None):
                self.total -= BREAK
                self.last, self.moved = raw, now
            if raw != self.last:
                self.total += raw - self.last + (self.zone.wraps or 0.0) * (raw < self.last)
                self.moved = now
            self.last, self.at = raw, now
            return self.total if now - self.moved < 10 * STANDS_STILL else None


class Tallies(Opened):
    """Zones added up; a thread looks at those that begin anew, so that runs of hours are whole."""

    def __init__(self, zones: Sequence[Zone], clock: Clock, *, source: str, absent: dict[str, str],
                 close: Callable[[], None]) -> None:
        self.tallies, self.about, self.absent = [Tally(zone, clock) for zone in zones], {"source": source}, absent
        self.quantities = [zone.quantity for zone in zones]
        self.over, self.release = threading.Event(), close
        self.every = min(tally.patience for tally in self.tallies) / 4
        if self.every < threading.TIMEOUT_MAX:
            threading.Thread(target=self._follow, name="rapl", daemon=True).start()

    def _follow(self) -> None:
        while not self.over.wait(self.every):
            self.read()

    def read(self) -> Sequence[float | None]:
        return [tally.read() for tally in self.tallies]

    def close(self) -> None:
        self.over.set()
        self.release()


class Rapl(Meter):
    """Energy of processor packages, of the memory at each, and of the platform."""

    name = "rapl"
    title = "joules of processor packages, their memory, the platform (RAPL)"

    def __init__(self, root: Path = Path("/"), perf: Perf | None = None, *, clock: Clock = time.monotonic,
                 pause: Callable[[float], None] = time.sleep) -> None:
        self.root, self.perf, self.clock, self.pause = root, perf or Perf(), clock, pause

    def open(self, device: str) -> Opened:
        handles: list[int] = []
        why = None
        try:
            zones = list(power_events(self.root, self.perf, handles))
        except OSError as error:
            zones, why = [], refusal(error, self.root, level=0)
        source = "perf" if zones else "powercap"
        found = zones or list(powercap(self.root))
        absent = {} if found else {"cpu": why or NONE.format(folder=self.root / POWERCAP)}
        absent |= {zone.scope: DENIED.format(file=f"{zone.scope}'s energy_uj", powercap=POWERCAP)
                   for zone in found if zone.joules() is None}
        absent |= still([zone for zone in found if zone.scope not in absent], self.pause)
        there = [zone for zone in found if zone.scope not in absent]
        if not there:
            self._close(handles)
            raise Absent(next(iter(absent.values())))
        if not any(zone.scope.startswith(DRAM) for zone in found):
            absent[DRAM] = "this processor does not count its memory's energy"
        return Tallies(there, self.clock, source=source, absent=absent, close=partial(self._close, handles))

    def _close(self, handles: list[int]) -> None:
        for handle in handles:
            with contextlib.suppress(OSError):
                self.perf.close(handle)


def still(zones: Sequence[Zone], pause: Callable[[float], None]) -> dict[str, str]:
    """Return why zones that read the same after some milliseconds are absent."""
    if not zones:
        return {}
    before = [zone.joules() for zone in zones]
    pause(STANDS_STILL)
    return {zone.scope: "the counter stands still: nothing counts behind it" for zone, first in
            zip(zones, before, strict=True) if zone.joules() == first}


def powercap(root: Path) -> Iterator[Zone]:
    """Yield packages, their memories and the platform; a zone that the mmio interface shows again is left out."""
    folder, seen = root / POWERCAP, set[str]()
    for zone in sorted(folder.glob("intel-rapl*:*"), key=lambda zone: ("mmio" in zone.name, zone.name)):
        scope = scope_of(text(zone / "name"), text(folder / zone.name.rpartition(":")[0] / "name"))
        if scope and scope not in seen:
            seen.add(scope)
            yield Zone(scope, partial(from_file, zone / "energy_uj"), from_file(zone / "max_energy_range_uj"))


def scope_of(name: str, parent: str) -> str | None:
    """Return the scope of a zone of powercap, given the name of the zone it lies in; None of what is not read."""
    if name.startswith("package"):
        return f"cpu {name}"
    return f"{DRAM} {parent}" if name == DRAM else PSYS if name == PSYS else None


def power_events(root: Path, perf: Perf, handles: list[int]) -> Iterator[Zone]:
    """Yield the same zones by perf, which follows each counter itself, opened into ``handles``.

    Raises:
        OSError: they are there, and the kernel does not open them for us.
    """
    kind, cores = text(root / PMU / "type"), numbers(text(root / PMU / "cpumask"))
    names = packages(root, cores)
    for event, what in EVENTS.items():
        config = re.search(r"event=(0x[0-9a-f]+)", text(root / PMU / "events" / event))
        scale = text(root / PMU / "events" / f"{event}.scale")
        if not (kind and config and scale):
            continue
        for core in cores[:1] if what == PSYS else cores:
            handle = perf.open(Event(event, int(kind), int(config[1], 16), cpu=core))
            handles.append(handle)
            yield Zone(PSYS if what == PSYS else f"{what} {names[core]}", partial(scaled, perf, handle, float(scale)))


def scaled(perf: Perf, handle: int, scale: float) -> float:
    """Return the joules of a counter of perf's."""
    return scale * perf.read(handle).value


def packages(root: Path, cores: Sequence[int]) -> dict[int, str]:
    """Return what powercap calls the package, or the die of it, that a core lies in."""
    place = {core: [text(root / f"sys/devices/system/cpu/cpu{core}/topology" / part) or "0"
                    for part in ("physical_package_id", "die_id")] for core in cores}
    many = Counter(package for package, _ in place.values())
    return {core: f"package-{package}" + (f"-die-{die}" if many[package] > 1 else "")
            for core, (package, die) in place.items()}


def numbers(listed: str) -> list[int]:
    """Return the numbers in a list of the kernel's, "0-1,18"."""
    ends = [part.split("-") for part in listed.split(",") if part]
    return [number for one in ends for number in range(int(one[0]), int(one[-1]) + 1)]


def text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def from_file(file: Path) -> float | None:
    """Return the joules in a file of microjoules; None if it cannot be read."""
    try:
        return int(file.read_text()) / 1e6
    except (OSError, ValueError):
        return None
