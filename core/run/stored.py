"""Records of finished runs read again: run folders, ``records.json`` files, what ``--format json`` printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import kind, kinds
from dlcompare.core.records.record import Record
from dlcompare.core.variables import RECORDS


def read(path: Path) -> list[Record]:
    """Return the records of a run folder or of a file; UsageError if there are none."""
    for one in kinds().values():
        if (found := one.stored(path)) is not None:
            return found
    file = path / RECORDS if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{path} holds no records.json; give a run folder, such as the newest below runs/")
    return parse(file.read_text())


def parse(text: str) -> list[Record]:
    """Return the records of a JSON text: a list, a single one, or a comparison's. Raises UsageError."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"not a file of records: {error}; dlcompare writes one as records.json") from error
    if isinstance(data, dict) and isinstance(data.get("records"), list):
        data = data["records"]
    items = data if isinstance(data, list) else [data]
    for item in items:
        if not isinstance(item, dict):
            raise UsageError(f"not a file of records: it holds {str(item)[:40]!r} where a record (an object) must be")
    return [record(item) for item in items]


def record(data: Mapping[str, Any]) -> Record:
    """Return one record of whatever kind it says it is; in schema 1 all were of training, some with a target."""
    said = data.get("kind") or ("time_to_accuracy" if data.get("target") else "training")
    found: Record = kind(str(said)).record.from_dict(data)
    return found


def by_kind(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return records by the name of their kind, in order."""
    found: dict[str, list[Record]] = {}
    for one in records:
        found.setdefault(one.kind, []).append(one)
    return found
