"""A run of inference as its tables need it: rows drawn from records, and statistics of raw values on reading."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dlcompare.core.records import disturbance, stats
from dlcompare.core.records.bounds import ARITHMETIC, Bounds
from dlcompare.core.records.energy import COUNTED, Spent, over_rounds
from dlcompare.core.records.host import Host
from dlcompare.core.records.record import Throughput, Window
from dlcompare.core.typed_json import from_plain

SCHEMA = 1
SHORTEST = 0.5  # seconds: counters of energy move in steps of up to 0.1 s
Json = dict[str, Any]
Key = tuple[str, str, int, int]  # engine, precision, batch, threads
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run. ``accuracy`` has a row per engine and precision, ``cells`` one per engine, precision, batch and round,
    ``scenarios`` one per engine, precision and scenario, ``searches`` one per engine; each row but
    these has a status, and a reason unless that is ok. Times are seconds, accuracies shares of 1.
    """

    schema: int = SCHEMA
    run: str
    started: str  # ISO 8601, UTC
    data: str
    network: Json
    plan: Json
    system: Json
    calibration: Json | None = None
    accuracy: list[Json] = field(default_factory=list)
    cells: list[Json] = field(default_factory=list)
    scenarios: list[Json] = field(default_factory=list)
    searches: list[Json] = field(default_factory=list)
    caveats: list[Json] = field(default_factory=list)  # of the samples, which all rows share

    @property
    def well(self) -> bool:
        """Return whether all that was asked for ran, the accuracy floor, if there is one, is surely held, and no search
        was in vain."""
        rows = [*self.accuracy, *self.cells, *self.scenarios]
        mended = {found["engine"] for found in self.searches if found["verdict"] == "pass"}
        floors = [found["floor"]["verdict"] for row in self.accuracy
                  if (found := row.get("against_fp32")) and found["floor"]
                  and not (row["precision"] == "int8" and row["engine"] in mended)]
        return (all(row["status"] == "ok" for row in rows) and all(word == "pass" for word in floors)
                and all(found["verdict"] == "pass" for found in self.searches))


def pixels(network: Json) -> str:
    """Return in words how large the network's images are, "" if it reads none; height comes first."""
    size = network["image_size"]
    high, wide = network.get("pixels") or (size, size)
    return f" at {high} x {wide}" if high else ""


def audit_of(results: Results, engine: str, precision: str) -> Json:
    """Return how an engine's INT8 was audited, {} if it was not."""
    found: Json = (results.calibration or {}).get("audit", {}).get(engine, {}) if precision == "int8" else {}
    return found


@dataclass(frozen=True)
class Speed:
    """One engine, precision, batch and number of threads over all rounds.

    ``throughput`` in samples per second: median of the windows that count and its bootstrap interval; latencies in
    seconds; ``left_out`` windows were disturbed.
    """

    engine: str
    precision: str
    batch: int
    throughput: float
    low: float | None
    high: float | None
    p50: float
    p90: float
    p99: float
    windows: int
    left_out: int
    disturbed: bool
    ran: Json
    cold: Json  # seconds of a first start: import, build (when it was made), open, first run
    energy: tuple[Spent, ...]  # by what a meter covers; empty without one
    of_peak: float | None = None  # the share of this machine's measured peak, None where nobody knows
    threads: int = 1
    bounds: Bounds | None = None
    host: Host | None = None  # of the first round


def side(one: Speed) -> str:
    """Return what tells the cells of one engine apart, in words."""
    return f"{one.precision}, batch {one.batch}, {one.threads} thread{'s' * (one.threads > 1)}"


def speeds(results: Results) -> list[Speed]:
    """Return the speed of every cell that ran, in the order of the plan."""
    rows: dict[Key, list[Json]] = {}
    plan, threads = results.plan, threads_of(results)
    for row in results.cells:
        if row["status"] == "ok":
            key = row["engine"], row["precision"], row["batch"], row.get("threads") or threads[-1]
            rows.setdefault(key, []).append(row)
    order = itertools.product(plan["engines"], plan["precisions"], plan["batches"], threads)
    return [speed(results, key, rows[key]) for key in order if key in rows]


def threads_of(results: Results) -> list[int]:
    """Return with how many threads speed was measured, fewest first; earlier versions knew a single number."""
    found = results.plan["threads"]
    return sorted(found) if isinstance(found, (list, tuple)) else [found]


def speed(results: Results, key: Key, rows: Sequence[Json]) -> Speed:
    """Return the speed of one cell; disturbed windows are left out unless most are."""
    engine, precision, batch, threads = key
    cores = disturbance.cores(results.system)
    windows = [window for row in rows for window in windows_of(row, batch)]
    good = [window for window in windows if not disturbance.disturbance(window, cores)]
    disturbed = 2 * len(good) < len(windows)
    counted = windows if disturbed else good
    found = Throughput.of(counted)
    latencies = [value for row in rows for value in row["measured"]["latencies"]]
    p50, p90, p99 = (stats.percentile(latencies, q) for q in (50, 90, 99))
    return Speed(engine, precision, batch, found.value, found.low, found.high, p50, p90, p99, len(counted),
                 len(windows) - len(counted), disturbed, rows[0]["ran"], cold_start(rows[0]), energy(rows, counted),
                 of_peak(rows, found.value), threads, plain(Bounds, rows[0].get("bounds")),
                 plain(Host, rows[0].get("host")))


def plain(cls: type[T], data: Json | None) -> T | None:
    """Return a dataclass of its JSON; None of none."""
    found: T | None = from_plain(cls, data, what="row") if data else None
    return found


def of_peak(rows: Sequence[Json], rate: float) -> float | None:
    """Return which share of what this machine's matrix units allow a throughput is; None if nobody knows."""
    limits = [limit for row in rows if (limit := ((row.get("bounds") or {}).get("limits") or {}).get(ARITHMETIC))]
    return rate / limits[0] if limits else None


def windows_of(row: Json, batch: int) -> list[Window]:
    """Return the windows of a row of ``Results.cells``."""
    return [Window(steps=one["runs"], samples=batch * one["runs"], seconds=tuple(one["seconds"]),
                   started=one["started"], joules=one.get("joules", {}), foreign_cores=one.get("foreign_cores"),
                   throttled=one.get("throttled"), paused=one.get("paused")) for one in row["measured"]["windows"]]


def energy(rows: Sequence[Json], windows: Sequence[Window]) -> tuple[Spent, ...]:
    """Return what the rounds of a cell spent; of records from before they told, joules of windows that count."""
    if all("energy" in row for row in rows):
        return over_rounds([[from_plain(Spent, one, what="energy") for one in row["energy"]] for row in rows])
    long = [window for window in windows if max(window.seconds) >= SHORTEST]
    scopes = dict.fromkeys(scope for window in long for scope in window.joules)
    return tuple(Spent(scope, stats.median([one.joules[scope] / one.samples for one in found]), None, None, COUNTED,
                       sum(one.joules[scope] for one in found) / sum(max(one.seconds) for one in found), len(found))
                 for scope in scopes if (found := [one for one in long if scope in one.joules]))


def cold_start(row: Json) -> Json:
    """Return the seconds from nothing to the first answer, by phase; a build counts as when it was made."""
    return {"import": row["startup"]["import"], "build": row["build"]["seconds"], "open": row["startup"]["open"],
            "first run": row["measured"]["first_run"]}
