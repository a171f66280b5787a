"""What a process timed, cell by cell, and the record of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from dlcompare.core.graph.named import small
from dlcompare.core.judging.kernels import Breakdown, LayerTime
from dlcompare.core.kinds.training.result import beyond_physics
from dlcompare.core.machine import measured
from dlcompare.core.machine.measured import Rate
from dlcompare.core.machine.peaks import peak_flops
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records.bounds import ARITHMETIC, Bounds, beyond_measured
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.energy import Span, Spent, spent
from dlcompare.core.records.record import Json, Proved, Record, Throughput, Window
from dlcompare.core.records.stats import median

from .published import in_words
from .request import FORWARD, FRAME, PASSES, STEP, WHOLE

FLOPS = "FLOP/s"


@dataclass(frozen=True)
class Timed:
    """One operator's windows; see ``request.Cell``. ``flops`` are of a forward pass, ``step_flops`` of a step.

    There are no forward windows where a backend cannot run that alone; ``reason`` is why there are none at all.
    ``least`` is the share of these operations that no algorithm in use can spare: what was spared was not skipped.
    ``energy`` is what a call of each pass spent, where a meter told: a sample is a call.
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
    energy: dict[str, tuple[Spent, ...]] = field(default_factory=dict)

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

    def flops_of(self, what: str) -> int:
        """Return the floating-point operations of one forward pass or one step."""
        return self.flops if what == FORWARD else self.step_flops

    def calls(self, what: str) -> list[Span]:
        """Return the windows of FORWARD or STEP that count as their energy is asked of them, by the call."""
        return [Span(one.clock, max(one.seconds), one.steps, one.joules) for one in self.windows(what)]

    def metered(self, meters: Sequence[Metered], devices: Sequence[Sequence[str]]) -> Timed:
        """Return it with what a call of each pass spent."""
        found = {what: spent(meters, devices, calls) for what in PASSES if (calls := self.calls(what))}
        return dataclasses.replace(self, energy={what: one for what, one in found.items() if one})


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What the process of a job timed."""

    timed: tuple[Timed, ...]
    versions: dict[str, str]
    settings: Choices
    startup: dict[str, float]
    peak_bytes: int | None
    rss_bytes: int
    meters: tuple[Metered, ...] = ()  # that were read around windows
    devices: tuple[str, ...] | None = None  # names by which drivers know them


@dataclass(frozen=True, kw_only=True)
class OpsRecord(Record):
    """Operators under one framework. ``windows`` are of steps: of the network's, or of all operators, one after the
    other; ``throughput`` is the arithmetic that this is in a second, ``energy`` that of a call, of a step. ``peak`` is
    that of this machine as it was measured, None where its framework was not itself; ``proved`` has the networks that
    certificates speak for, and ``verified`` one of those if they are all: the one that failed, else the oldest."""

    kind: str = "ops"
    timed: tuple[Timed, ...] = ()
    peak: Rate | None = None
    proved: tuple[Proved, ...] = ()

    unit = FLOPS
    scale = (1e9, "GFLOP/s")
    sample = "call"
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
        timed = tuple(one.metered(self.meters, self.devices) for one in self.timed)
        return {**super().derived(windows), "timed": timed, "energy": of_step(timed)}

    @property
    def bounds(self) -> Bounds | None:
        """Return what this machine's matrix units allow; None if nobody has measured that. A sample is an operation."""
        machine = measured.known(self.system) if self.system else None
        peak = machine.peak_flops(self.device, self.precision, self.job["threads"]) if machine else None
        if machine is None or peak is None:
            return None
        found = Bounds(measured=machine.measured, peak=peak, limits={ARITHMETIC: peak.value})
        return found.beside(self.throughput.value) if self.throughput else found

    def metered(self, windows: Sequence[Window]) -> tuple[list[Span], Sequence[Spent]]:
        told = {spent.scope: spent for one in self.timed for each in one.energy.values() for spent in each}
        return [span for one in self.timed for what in PASSES for span in one.calls(what)], tuple(told.values())

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
        """Return a record for each operator, or one for the network as a whole; one that failed alone has failed.

        What holds for all operators stays here. Of a sweep the operator is an axis too.
        """
        if self.job.get("model") or len(self.timed) < 2:
            return [dataclasses.replace(self, startup={})]
        return [self.alone(one) for one in self.timed]

    def alone(self, one: Timed) -> OpsRecord:
        """Return the record of one of several operators: verified if that operator was."""
        found = dataclasses.replace(
            self, startup={}, model=one.name, windows=one.step, throughput=one.rate(STEP), timed=(one,),
            energy=of_step((one,)), status="failed" if one.reason else self.status, reason=one.reason or self.reason,
            point={"operator": one.name, **self.point} if self.point else {})
        proved = tuple(each for each in self.proved if each.network in found.networks)
        alone = self.verified if len(set(self.networks)) == 1 else None
        return dataclasses.replace(found, proved=proved, verified=proved[0].verified if proved else alone)


def of_step(timed: Sequence[Timed]) -> tuple[Spent, ...]:
    """Return what a call of the step spent: of the whole network, or of the only operator; nothing of several."""
    found = [one for one in timed if one.of == WHOLE] or timed
    return found[0].energy.get(STEP, ()) if len(found) == 1 else ()


RANK, RECORD = RankResult, OpsRecord
