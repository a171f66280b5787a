"""Records for programs: a list of objects as ``core/record.schema.json`` describes them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dlcompare.core.records.record import Record


def render(records: Sequence[Record]) -> str:
    """Return the records as a JSON list; ``record.parse`` reads it back."""
    return json.dumps([record.to_dict() for record in records], indent=1, allow_nan=False) + "\n"
