"""What a process timed, cell by cell, and the record of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from dlcompare.core.graph.named import small
from dlcompare.core.judging.kernels import Breakdown, LayerTime
from dlcompare.core.kinds.training.result import beyond_physics
from dlcompare.core.machine.measured import Rate
from dlcompare.core.machine.peaks import peak_flops
from dlcompare.core.records.bounds import beyond_measured
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.record import Json, Proved, Record, Throughput, Window
from dlcompare.core.records.stats import median

from .published import in_words
from .request import FORWARD, FRAME, STEP, WHOLE

FLOPS = "FLOP/s"


@dataclass(frozen=True)
class Timed:
    """One operator's windows; see ``request.Cell``. ``flops`` are of a forward pass, ``step_flops`` of a step.

    There are no forward windows where a backend cannot run that alone; ``reason`` is why there are none at all.
    ``least`` is the share of these operations that no algorithm in use can spare: what was spared was not skipped.
    """

    name: str
    about: str
    of: str
    count: int
    batch: int
    flops: int
    step_flops: int
    framed: tuple[str, ...] = ()
    forward: tuple[Window, ...] = ()
    step: tuple[Window, ...] = ()
    settled: bool = True
    build_seconds: float = 0.0
    reason: str | None = None
    least: float = 1.0

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
    other; ``throughput`` is the arithmetic that this is in a second. ``peak`` is that of this machine as it was
    measured, None where its framework was not itself; ``proved`` has the networks that certificates speak for, and
    ``verified`` one of those if they are all: the one that failed, else the oldest."""

    kind: str = "ops"
    timed: tuple[Timed, ...] = ()
    peak: Rate | None = None
    proved: tuple[Proved, ...] = ()

    unit = FLOPS
    provable = True

    @property
    def conditions(self) -> str:
        of = f", batch {self.batch_per_worker}" if self.job.get("model") else ""
        return f"{self.precision}, {self.job.get('threads')} threads{of}"

    @property
    def networks(self) -> tuple[str, ...]:
        """Return its own network, or its operators, made small enough for the reference."""
        return tuple(small(in_words(name)) for name in self.model.split(","))

    def derived(self, windows: Sequence[Window]) -> Json:
        """Return what follows from the windows; those of each operator speak for themselves, see :class:`Timed`."""
        return super().derived(windows)

    def refutation(self) -> str | None:
        """Return why it cannot be true: the first rate that by the fewest operations is above the device's published
        peak, or above the one that was measured.
        """
        peak = peak_flops(self.system, self.device, self.precision, devices=1)
        rates = ((f"{one.name}, {what}", one.least * rate.value) for one in self.timed for what in (FORWARD, STEP)
                 if (rate := one.rate(what)))
        return next((f"{who}: {reason}" for who, rate in rates
                     if (reason := beyond_physics(rate, peak) or beyond_measured(rate, self.peak))), None)

    def breakdown(self) -> Breakdown | None:
        """Return where the time of a network's step goes; None for operators by name, or where some were not timed.

        Of each layer's step half of each frame around it is taken off, for a frame is a factor before and a square
        behind a tensor, and a layer has one factor before each of its inputs and one square behind its result.
        """
        by = {one.name: one.seconds(STEP) for one in self.timed if one.of in (FRAME, WHOLE)}
        layers = [one for one in self.timed if one.of not in (FRAME, WHOLE)]
        alone = [(one, one.seconds(STEP)) for one in layers]
        whole = by.get(WHOLE)
        if whole is None or any(seconds is None for _, seconds in alone) or None in by.values():
            return None
        return Breakdown(whole, tuple(
            LayerTime(one.name, one.about, one.count,
                      one.count * ((seconds or 0.0) - sum((by[name] or 0.0) / 2 for name in one.framed)))
            for one, seconds in alone))

    def parts(self) -> list[OpsRecord]:
        """Return a record for each operator, or one for the network as a whole.

        What holds for all operators stays here, and what is told by the sample: a sample of these is an operation.
        """
        if self.job.get("model") or len(self.timed) < 2:
            return [dataclasses.replace(self, startup={}, energy=())]
        return [self.alone(one) for one in self.timed]

    def alone(self, one: Timed) -> OpsRecord:
        """Return the record of one of several operators: verified if that operator was."""
        found = dataclasses.replace(self, startup={}, energy=(), model=one.name, windows=one.step,
                                    throughput=one.rate(STEP), timed=(one,))
        proved = tuple(each for each in self.proved if each.network in found.networks)
        alone = self.verified if len(set(self.networks)) == 1 else None
        return dataclasses.replace(found, proved=proved, verified=proved[0].verified if proved else alone)


RANK, RECORD = RankResult, OpsRecord
