"""Records that tell nobody where the user's home is, nor so the user's name: they are for showing to others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from .record import R


def homeless(record: R) -> R:
    """Return a record whose texts say ``~`` for the user's home folder, as shells do and what reads its paths."""
    try:
        home = json.dumps(str(Path.home()))[1:-1]
    except RuntimeError:  # a container's user whom nobody knows: there is none
        return record
    text = record.to_json()
    if home == "/" or home not in text:
        return record
    made = type(record).from_json(re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", text))
    own = Path(record.log or "").is_absolute() and json.loads(text)["log"] != record.log  # a file of the run itself
    return replace(made, log=record.log) if own else made
