"""What an inference run found: raw values with units, and statistics of them on reading."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.meters import energy
from dlcompare.core.records import disturbance, stats
from dlcompare.inference.onnx.network import Network

SCHEMA = 1
RESULTS = "inference.json"
Json = dict[str, Any]


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

    @property
    def well(self) -> bool:
        """Return whether all that was asked for ran, and the accuracy floor, if there is one, is surely held."""
        rows = [*self.accuracy, *self.cells, *self.scenarios]
        mended = {found["engine"] for found in self.searches if found["verdict"] == "pass"}
        floors = [found["floor"]["verdict"] for row in self.accuracy
                  if (found := row.get("against_fp32")) and found["floor"]
                  and not (row["precision"] == "int8" and row["engine"] in mended)]
        return all(row["status"] == "ok" for row in rows) and all(word == "pass" for word in floors)


@dataclass(frozen=True)
class Speed:
    """One engine, precision and batch over all rounds. ``throughput`` in samples per second: median of the windows
    that count and its bootstrap interval; latencies in seconds; ``left_out`` windows were disturbed.
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
    joules: dict[str, float]  # per sample, by what a counter covers; empty without one


def read(path: Path) -> Results:
    """Return the results of a run folder, or of an ``inference.json``; UsageError if there are none of this schema."""
    file = path / RESULTS if path.is_dir() else path
    try:
        found = json.loads(file.read_text())
        if found["schema"] != SCHEMA:
            raise UsageError(f"{file} has schema {found['schema']}, but this dlcompare reads schema {SCHEMA}; read it "
                             "with the version that wrote it")
        return Results(**{spec.name: found[spec.name] for spec in fields(Results) if spec.name in found})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} holds no results of dlcompare infer: {error}") from error


def described(net: Network) -> Json:
    """Return what results keep of a network."""
    return {"name": net.name, "task": net.task, "image_size": net.image_size, "origin": net.origin,
            "trained": net.trained, "params_sha256": net.params_sha256, "outputs": list(net.outputs)}


def cell(engine: str, precision: str, batch: int, number: int, status: str, reason: str | None, result: Json) -> Json:
    """Return a row of ``Results.cells``."""
    return {"engine": engine, "precision": precision, "batch": batch, "round": number, "status": status,
            "reason": reason, **result}


def speeds(results: Results) -> list[Speed]:
    """Return the speed of every cell that ran, in the order of the plan."""
    rows: dict[tuple[str, str, int], list[Json]] = {}
    for row in results.cells:
        if row["status"] == "ok":
            rows.setdefault((row["engine"], row["precision"], row["batch"]), []).append(row)
    plan = results.plan
    order = [(e, p, b) for e in plan["engines"] for p in plan["precisions"] for b in plan["batches"]]
    return [speed(results, key, rows[key]) for key in order if key in rows]


def speed(results: Results, key: tuple[str, str, int], rows: Sequence[Json]) -> Speed:
    """Return the speed of one cell; disturbed windows are left out unless most are."""
    engine, precision, batch = key
    cores = disturbance.cores(results.system)
    windows = [window for row in rows for window in row["measured"]["windows"]]
    good = [window for window in windows if not disturbance.disturbance(window, cores)]
    disturbed = 2 * len(good) < len(windows)
    counted = windows if disturbed else good
    rates = [batch * window["runs"] / max(window["seconds"]) for window in counted]
    low, high = stats.bootstrap_interval(rates) if len(rates) > 1 else (None, None)
    latencies = [value for row in rows for value in row["measured"]["latencies"]]
    p50, p90, p99 = (stats.percentile(latencies, q) for q in (50, 90, 99))
    return Speed(engine, precision, batch, stats.median(rates), low, high, p50, p90, p99, len(counted),
                 len(windows) - len(counted), disturbed, rows[0]["ran"], cold_start(rows[0]), joules(counted, batch))


def joules(windows: Sequence[Json], batch: int) -> dict[str, float]:
    """Return the joules per sample by scope, medians of the windows that are long enough for the counters."""
    found: dict[str, list[float]] = {}
    for window in windows:
        if max(window["seconds"]) >= energy.SHORTEST:
            for scope, used in window.get("joules", {}).items():
                found.setdefault(scope, []).append(used / (batch * window["runs"]))
    return {scope: stats.median(values) for scope, values in found.items()}


def cold_start(row: Json) -> Json:
    """Return the seconds from nothing to the first answer, by phase; a build counts as when it was made."""
    return {"import": row["startup"]["import"], "build": row["build"]["seconds"], "open": row["startup"]["open"],
            "first run": row["measured"]["first_run"]}
