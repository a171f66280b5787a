"""What limits a record, as a kind with values; reports word it (``core/reports/words.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Caveat:
    """One doubt about a number, or one thing that was left out: its ``kind``, and the ``values`` that say how much."""

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, **values: Any) -> Caveat:
        """Return the caveat of that kind with these values."""
        return cls(kind, values)

    @classmethod
    def told(cls, sentence: str) -> Caveat:
        """Return a caveat that is a sentence already, as records of schema 1 hold them."""
        return cls("told", {"text": sentence})
