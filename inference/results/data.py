"""Inference for programs: a run as one JSON object, or CSV with a row per engine, precision and batch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcompare.core.files import finite
from dlcompare.core.judging.verdict import Comparison
from dlcompare.core.records.energy import Spent, headline
from dlcompare.core.reports.record_csv import csv_text
from dlcompare.core.reports.verdicts_data import comparison

from .summary import Json, Results, audit_of, speeds


def as_json(runs: Sequence[Results], verdicts: Sequence[Comparison] = ()) -> str:
    """Return everything, raw values included, and the statistics of them; a list for several runs.

    ``verdicts`` are those of the rounds of a single run.
    """
    plain = [dataclasses.asdict(one) | {"speeds": [dataclasses.asdict(speed) for speed in speeds(one)]} for one in runs]
    if verdicts:
        plain[0] |= {"verdicts": [comparison(one) for one in verdicts]}
    return json.dumps(finite(plain if len(plain) > 1 else plain[0]), indent=1, allow_nan=False) + "\n"


COLUMNS = ("model", "data", "engine", "precision", "ran", "batch", "threads", "samples_per_s", "low", "high", "p50_s",
           "p90_s", "p99_s", "joules_per_sample", "watts", "accuracy", "top5", "difference", "difference_low",
           "difference_high", "sqnr_db", "floor", "weight_bits", "kernels")


def as_csv(runs: Sequence[Results]) -> str:
    """Return a row per engine, precision and batch, with the accuracy of that engine and precision."""
    return csv_text(COLUMNS, (row for one in runs for row in csv_rows(one)))


def csv_rows(results: Results) -> Iterator[Json]:
    """Yield the rows of one run."""
    right = {(row["engine"], row["precision"]): row for row in results.accuracy if row["status"] == "ok"}
    fast = speeds(results)
    for one in fast:
        yield csv_row(results, right.get((one.engine, one.precision), {})) | {
            "engine": one.engine, "precision": one.precision, "ran": one.ran["precision"], "batch": one.batch,
            "threads": one.threads, **int8(results, one.engine, one.precision),
            "samples_per_s": one.throughput, "low": one.low, "high": one.high, "p50_s": one.p50, "p90_s": one.p90,
            "p99_s": one.p99, **energy_cells(one.energy, results.plan["device"])}
    measured = {(one.engine, one.precision) for one in fast}
    for key, row in right.items():
        if key not in measured:
            yield csv_row(results, row) | int8(results, *key)


def energy_cells(found: Sequence[Spent], device: str) -> Json:
    """Return what the accelerators of a cell spent, or on "cpu" its processors."""
    spent = headline(found, device=device)
    return {"joules_per_sample": spent and spent.per_sample, "watts": spent and spent.watts}


def int8(results: Results, engine: str, precision: str) -> Json:
    """Return how many bits an engine's weights took of an INT8 file of ours, and whether it computed that rightly."""
    weights = (results.calibration or {}).get("weights", {}) if precision == "int8" else {}
    audit = audit_of(results, engine, precision).get("deviates")
    return {"weight_bits": weights[engine]["bits"] if engine in weights else None,
            "kernels": None if audit is None else "deviate" if audit else "exact"}


def csv_row(results: Results, row: Mapping[str, Any]) -> Json:
    """Return the cells that a row of accuracy fills."""
    found = row.get("against_fp32") or {}
    difference = found.get("difference") or {}
    return {"model": results.network["name"], "data": results.data, "engine": row.get("engine"),
            "precision": row.get("precision"), "ran": (row.get("ran") or {}).get("precision"),
            "accuracy": row.get("right"), "top5": row.get("top5"), "difference": difference.get("value"),
            "difference_low": difference.get("low"), "difference_high": difference.get("high"),
            "sqnr_db": found.get("sqnr_db"), "floor": (found.get("floor") or {}).get("verdict")}
