"""What this machine was measured to do, kept under its fingerprint: ``dlcompare machine`` measures, others read it.

Published peaks (``peaks``) are of a device as sold; these are of this machine with its cores, limits and drivers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcompare.core.files import cache_root, read_cached, write_cached
from dlcompare.core.typed_json import from_plain, to_plain

SCHEMA = 1  # of what is kept, and of how it is measured: another measures anew
REMEDY = "dlcompare machine"  # what to type where nothing is known

BASIC = ("python", "numpy")  # versions that no matrix product of a framework depends on
# What a rate is of.
MATRIX, MEMORY, COPY, DISK, EXCHANGE = "matrix", "memory", "copy", "disk", "exchange"


@dataclass(frozen=True)
class Rate:
    """One rate of this machine: the median of ``n`` repeats, its 95 % bootstrap interval, and the best of them.

    ``what`` is one of MATRIX, MEMORY, COPY, DISK, EXCHANGE, ``name`` tells those of one sort apart: a precision, the
    way of a copy, a state of the disk's cache, a means of exchange. ``unit`` is "FLOP/s" or "B/s". ``by`` is who did
    the work (a framework, or a program of ours) and ``version`` of what; ``size`` is the side of a square matrix, or
    bytes. ``threads`` is None where they do not matter.
    """

    what: str
    name: str
    value: float
    low: float | None
    high: float | None
    best: float
    n: int
    unit: str
    by: str
    version: str = ""
    device: str = "cpu"
    threads: int | None = None
    size: int | None = None

    @property
    def ceiling(self) -> float:
        """Return what an honest result cannot be above but for noise: the upper end of the interval, or the best."""
        return max(self.best, self.high or 0.0)


@dataclass(frozen=True)
class Measured:
    """What was measured of one machine; ``absent`` says why what is not there is not, by what it would be.

    ``seconds`` is how long measuring took; ``idle_watts`` are by what a meter covers; ``versions`` of who measured.
    """

    fingerprint: dict[str, Any]
    measured: str  # ISO 8601, UTC
    seconds: float
    rates: tuple[Rate, ...] = ()
    idle_watts: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    topology: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def of(self, what: str, name: str | None = None, *, device: str = "cpu") -> list[Rate]:
        """Return the rates of one sort on a device, best first."""
        found = [one for one in self.rates if one.what == what and one.device == device and name in (None, one.name)]
        return sorted(found, key=lambda one: -one.value)

    def peak_flops(self, device: str, precision: str, threads: int | None = None) -> Rate | None:
        """Return the best matrix rate that a framework reached, in FLOP/s of one device; None if none was measured.

        On a processor: with so many threads in all (None: as many as it has), see :func:`with_threads`.
        """
        return with_threads(self.of(MATRIX, precision, device=device), threads)

    def memory_bandwidth(self, threads: int | None = None, *, device: str = "cpu") -> Rate | None:
        """Return the memory bandwidth in bytes a second, of one device; None if it was not measured."""
        return with_threads(self.of(MEMORY, device=device), threads)

    def exchange(self, name: str = "loopback") -> Rate | None:
        """Return how many bytes a second one process hands to another by a means: loopback, pipe, shared memory."""
        return next(iter(self.of(EXCHANGE, name)), None)

    def bounds(self, peak: Rate, framework: str, version: str) -> bool:
        """Return whether a framework was itself measured in this version where a peak was: on that device, in that
        precision, with as many threads.

        Another may be able to do more than the best of those did, so the peak then is a yardstick and no bound.
        """
        asked = framework, version, peak.device, peak.name, peak.threads
        return any((one.by, one.version, one.device, one.name, one.threads) == asked
                   for one in self.rates if one.what == MATRIX)


def with_threads(rates: Iterable[Rate], threads: int | None) -> Rate | None:
    """Return the best rate with the fewest measured threads that are enough, or with the most that were measured.

    So the rate of three threads is that of four, where two and four were measured: a bound, if not a close one.
    """
    found = list(rates)
    counts = sorted({one.threads for one in found if one.threads is not None})
    if threads is None or not counts:
        wanted = counts[-1] if counts else None
    else:
        wanted = next((count for count in counts if count >= threads), counts[-1])
    return max((one for one in found if one.threads == wanted), key=lambda one: one.value, default=None)


def spoken(versions: Mapping[str, str]) -> str:
    """Return the versions of a framework and what it computes with as one text, as ``Rate.version`` has it."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()) if name not in BASIC)


def known(system: Mapping[str, Any] | None = None) -> Measured | None:
    """Return what was measured of a machine, by default of this as it is now; None if nothing was. Measures nothing.

    ``system`` is what :func:`.system.system` said of it, as a record holds it.
    """
    if system is None:
        from .system import system as look

        system = look()
    wanted = fingerprint(system)
    found = read_cached(place(wanted), read, instead=f"measure again with: {REMEDY}")
    return found if found and found.fingerprint == wanted else None


def keep(measured: Measured) -> Path:
    """Keep what was measured for :func:`known`; where it cannot be kept that is said, and nothing else is lost."""
    path = place(measured.fingerprint)
    write_cached(path, json.dumps(to_plain(measured), indent=1, allow_nan=False))
    return path


def read(data: bytes) -> Measured:
    """Return what :func:`keep` wrote; UsageError or ValueError if it is nothing of the kind."""
    found = from_plain(Measured, json.loads(data), what="measured machine")
    if found.schema != SCHEMA:
        raise ValueError(f"it has schema {found.schema}, and this dlcompare measures by schema {SCHEMA}")
    return found


def place(of: Mapping[str, Any]) -> Path:
    """Return the file in the cache for a fingerprint."""
    import hashlib  # late: OpenSSL takes a fiftieth of a start-up

    digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    return cache_root() / "machine" / f"{digest[:16]}.json"


def fingerprint(system: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a machine its rates depend on and what stays as it is between two runs.

    Who computes is no part of it: :meth:`Measured.bounds` tells whether a framework was measured in its version.
    """
    cpu, memory = system.get("cpu") or {}, system.get("memory") or {}
    return {
        "schema": SCHEMA, "kernel": system.get("kernel"), "machine": system.get("machine"),
        "cpu": {name: cpu.get(name) for name in ("model", "physical", "logical", "usable", "quota", "flags",
                                                 "governor")},
        "memory": {name: memory.get(name) for name in ("total_bytes", "limit_bytes")},
        "accelerators": [dict(one) for one in system.get("accelerators", ())],
    }
