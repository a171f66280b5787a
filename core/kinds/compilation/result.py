"""What the compiler said of a train step, as the worker leaves it and as the record holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlcompare.core.machine import peaks
from dlcompare.core.machine.peaks import Estimate, Peak
from dlcompare.core.records.record import Record


@dataclass(frozen=True)
class RankResult:
    """What the compiler said, as docs/compile.md has it."""

    compiled: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CompilationRecord(Record):
    """What the compiler said of one job; None where it said nothing."""

    kind: str = "compilation"
    compiled: dict[str, Any] | None = None

    @property
    def peak(self) -> Peak | None:
        """Return the published peaks of the device compiled for."""
        return peaks.peak(self.compiled["device_kind"]) if self.compiled else None

    @property
    def devices_batch(self) -> int:
        """Return the samples of a step of all devices together."""
        return self.batch_per_worker * (self.compiled["workers"] if self.compiled else self.workers)

    @property
    def estimate(self) -> Estimate | None:
        """Return the roofline of a step; None where no peaks are published or the compiler counted nothing."""
        if self.compiled is None or self.peak is None or None in self.compiled["cost"].values():
            return None
        cost = self.compiled["cost"]
        return peaks.estimate(self.peak, flops=cost["flops"], traffic=cost["bytes"], global_batch=self.devices_batch)


RANK, RECORD = RankResult, CompilationRecord
