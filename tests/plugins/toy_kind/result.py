"""The raw result of a toy's process, and the record that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from dlcompare.core.records.record import Record, Window


@dataclass(frozen=True)
class RankResult:
    """All windows, raw."""

    windows: tuple[Window, ...]


@dataclass(frozen=True, kw_only=True)
class ToyRecord(Record):
    """How fast memory was copied in one way."""

    kind: str = "toy"
    megabytes: int

    unit = "MB/s"

    @property
    def conditions(self) -> str:
        return f"{self.megabytes} MB at a time"


RANK, RECORD = RankResult, ToyRecord
