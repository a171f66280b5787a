"""A comparison for programs: one JSON object, or a CSV with a row for each side and run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from dlcompare.core.files import finite
from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.verdict import Comparison, Side, Verdict
from dlcompare.core.records.record import SAMPLES

from .cold_start import cold_starts_of, race
from .record_csv import csv_text
from .text import per_second

SCHEMA = 1


def as_json(comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return ``{"schema", "comparisons", "explanation", "records"}``; ``docs/verdict.md`` says what is in them."""
    plain = {"schema": SCHEMA, "comparisons": [comparison(one) for one in comparisons],
             "explanation": explanation_as_plain(explanation),
             "records": [record.to_dict() for one in comparisons for side in one.sides for record in side.records]}
    return json.dumps(finite(plain), indent=1, allow_nan=False) + "\n"


def comparison(one: Comparison) -> dict[str, Any]:
    """Return a comparison of one model as plain data."""
    return {"model": one.model, "point": one.point, "margin": one.margin,
            "baseline": {"run": one.baseline.run, "name": one.baseline.name},
            "sides": [side_cells(one, side) for side in one.sides],
            "verdicts": [dataclasses.asdict(verdict) for verdict in one.verdicts]}


def side_cells(one: Comparison, side: Side) -> dict[str, Any]:
    """Return what is known of a side apart from its verdict."""
    found = cold_starts_of(one)
    cold, result = found.get(side), race(one, side, found)
    low, high = side.interval
    return {"run": side.run, "name": side.name, "interleaved": side.interleaved, "open_ended": side.open_ended,
            per_second(side.records[0].unit): side.throughput, "low": low, "high": high, "rounds": len(side.good),
            "disturbed": len(side.ran) - len(side.good), "failed": len(side.records) - len(side.ran),
            "cold_start_s": {**cold.phases, "total": cold.total} if cold else None,
            "ahead_of_baseline": dataclasses.asdict(result) if result else None}


def explanation_as_plain(found: Explanation | str | None) -> dict[str, Any] | None:
    """Return an explanation as plain data; ``reason`` where there is none."""
    if found is None:
        return None
    return {"reason": found} if isinstance(found, str) else dataclasses.asdict(found)


def as_csv(comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return a row for each side in each run with its verdict there; an explanation is in JSON and the table alone."""
    unit = comparisons[0].baseline.records[0].unit if comparisons else SAMPLES
    columns = [per_second(unit) if name == RATE else name for name in COLUMNS]
    return csv_text(columns, (row(one, side, verdict) for one in comparisons for side in one.sides
                              for verdict in of(one, side)))


def of(one: Comparison, side: Side) -> list[Verdict | None]:
    """Return the verdicts on a side; None alone for a baseline."""
    found = [verdict for verdict in one.verdicts if (verdict.run, verdict.name) == (side.run, side.name)]
    return [*found] or [None]


def row(one: Comparison, side: Side, verdict: Verdict | None) -> dict[str, Any]:
    """Return a row's cells by column."""
    known = side_cells(one, side)
    cold, race_ = known.pop("cold_start_s") or {}, known.pop("ahead_of_baseline") or {}
    judged = dataclasses.asdict(verdict) if verdict else {}
    low, high = judged.pop("bootstrap", None) or (None, None)
    return {"model": one.model, "point": json.dumps(one.point) if one.point else None, **known, "margin": one.margin,
            "baseline_run": judged.get("baseline_run"), "baseline": judged.get("baseline"),
            "ratio": judged.get("ratio"), "ratio_low": judged.get("low"), "ratio_high": judged.get("high"),
            "bootstrap_low": low, "bootstrap_high": high, "verdict": judged.get("word"),
            "reason": judged.get("reason"), "resolution": judged.get("resolution"),
            "paired_rounds": judged.get("rounds"), "discarded_rounds": judged.get("discarded"),
            "cold_start_s": cold.get("total"), "ahead": race_.get("ahead"), "ahead_steps": race_.get("steps")}


RATE = per_second(SAMPLES)  # records in another unit have a column named for it
COLUMNS = (
    "model", "point", "run", "name", "interleaved", "open_ended", RATE, "low", "high", "rounds", "disturbed",
    "failed", "margin", "baseline_run", "baseline", "ratio", "ratio_low", "ratio_high", "bootstrap_low",
    "bootstrap_high", "verdict", "reason", "resolution", "paired_rounds", "discarded_rounds", "cold_start_s", "ahead",
    "ahead_steps",
)
