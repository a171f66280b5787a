"""What a process timed, cell by cell, and the record of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from dlcompare.core.records.choices import Choices
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.record import Json, Record, Throughput, Window
from dlcompare.core.records.stats import median

FLOPS = "FLOP/s"
FORWARD, STEP = "forward", "step"


@dataclass(frozen=True)
class Timed:
    """One operator's windows; see ``request.Cell``. ``flops`` are of a forward pass, ``step_flops`` of a step.

    ``reason`` is why there are no windows; ``why_no_forward`` why there are none of the forward pass alone.
    """

    name: str
    about: str
    of: str
    count: int
    batch: int
    flops: int
    step_flops: int
    forward: tuple[Window, ...] = ()
    step: tuple[Window, ...] = ()
    settled: bool = True
    build_seconds: float = 0.0
    reason: str | None = None

    def windows(self, what: str) -> list[Window]:
        """Return the windows of FORWARD or STEP that count."""
        return windows_that_count(self.forward if what == FORWARD else self.step)

    def seconds(self, what: str) -> float | None:
        """Return the median seconds of one forward pass or one step, over windows; None if none were taken."""
        found = self.windows(what)
        return median([max(one.seconds) / one.steps for one in found]) if found else None

    def rate(self, what: str) -> Throughput | None:
        """Return the FLOP/s of the forward pass or of the step, with its interval; None for what multiplies nothing."""
        found = self.windows(what)
        return Throughput.of(found, FLOPS) if found and self.flops else None


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What the process of a job timed."""

    timed: tuple[Timed, ...]
    versions: dict[str, str]
    settings: Choices
    startup: dict[str, float]
    peak_bytes: int | None
    rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class OpsRecord(Record):
    """Operators under one framework. ``windows`` are of steps: of the network's, or of all operators, one after the
    other; ``throughput`` is the arithmetic that this is in a second."""

    kind: str = "ops"
    timed: tuple[Timed, ...] = ()

    unit = FLOPS

    @property
    def conditions(self) -> str:
        of = f", batch {self.batch_per_worker}" if self.job.get("model") else ""
        return f"{self.precision}, {self.job.get('threads')} threads{of}"

    def derived(self, windows: Sequence[Window]) -> Json:
        return super().derived(windows)

    def parts(self) -> list[OpsRecord]:
        """Return a record for each operator, or one for the network as a whole."""
        if self.job.get("model") or len(self.timed) < 2:
            return [self]
        return [dataclasses.replace(self, model=one.name, windows=one.step, throughput=one.rate(STEP), timed=(one,))
                for one in self.timed]


RANK, RECORD = RankResult, OpsRecord
