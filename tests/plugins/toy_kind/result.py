"""The raw result of a toy's process, and the record that it becomes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import counted, settled
from dlcompare.core.records.record import Record, Throughput, Window

CACHE = 64  # MB: less than that may never reach the memory


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


def folded(record: ToyRecord) -> ToyRecord:
    """Return a record with its statistics and what there is to doubt."""
    record = settled(record)
    windows = counted(record.windows)
    small = [Caveat.of("toy cache", megabytes=record.megabytes)] if record.megabytes < CACHE else []
    return dataclasses.replace(record, throughput=Throughput.of(windows, record.unit),
                               warnings=(*record.warnings, *doubts.of_windows(windows), *small))
