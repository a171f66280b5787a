"""Records for programs: a list of objects, each as the JSON Schema of its kind's record describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dlcompare.core.records.record import Record


def render(records: Sequence[Record]) -> str:
    """Return the records as a JSON list; ``run.stored`` reads it back."""
    return json.dumps([record.to_dict() for record in records], indent=1, allow_nan=False) + "\n"
