"""The forms that records and comparisons are printed in: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.verdict import Comparison
from dlcompare.core.records.record import Record

from . import record_csv, verdicts, verdicts_data


def records_as(form: str, records: Sequence[Any], table: Callable[[Sequence[Any]], str]) -> str:
    """Return records in one of the forms; ``table`` is their kind's own."""
    forms: dict[str, Callable[[Sequence[Record]], str]] = {
        "table": table, "json": as_json, "csv": record_csv.render}
    return forms[form](records)


def comparisons_as(form: str, comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return comparisons in one of the forms."""
    forms = {"table": verdicts.render, "json": verdicts_data.as_json, "csv": verdicts_data.as_csv}
    return forms[form](comparisons, explanation)


def as_json(records: Sequence[Record]) -> str:
    """Return the records as a JSON list; ``run.stored`` reads it back."""
    return json.dumps([record.to_dict() for record in records], indent=1, allow_nan=False) + "\n"
