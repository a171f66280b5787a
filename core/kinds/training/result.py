"""The raw result of a training rank, and the record that ranks are folded into (``folding``)."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.data.given import Delivered, Given
from dlcompare.core.machine.peaks import peak_flops
from dlcompare.core.meters.host.page_cache import Residency
from dlcompare.core.meters.meter import Metered
from dlcompare.core.plugins.job import DEVICES, PRECISIONS
from dlcompare.core.records import bounds, doubts, stats
from dlcompare.core.records.bounds import Bounds
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Json, Record, Window

FIRST_STEP = "first_step"  # of a record's startup; it is the first of the warm-up steps as well
COMPILE = "compile"
WARM_UP_STEPS = re.compile(r"(\d+) warm-up steps, ([\d.]+) s")  # as schema 1 words what is no doubt
OF_ONE_KIND = {"task", "cases", "target", "max_epochs"}  # fields of every job in schema 1


@dataclass(frozen=True)
class StepSeconds:
    """One warm-up step: its index and the slowest rank's seconds."""

    step: int
    seconds: float


@dataclass(frozen=True)
class LossPoint:
    """The loss at one optimiser step; None where it was not a finite number."""

    step: int
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class RankWindow:
    """One window as a rank saw it: its own seconds, every rank's (``peers``), its last loss; see ``record.Window``."""

    steps: int
    seconds: float | None
    peers: tuple[float | None, ...]
    loss: float | None
    step: int
    started: float
    feed_seconds: float
    foreign_cores: float | None = None
    throttled: int | None = None
    paused: float | None = None
    clock: float | None = None
    joules: dict[str, float] = field(default_factory=dict)
    counted: dict[str, float] = field(default_factory=dict)

    @property
    def slowest(self) -> float:
        """Return the slowest rank's seconds; NaN where a clock is broken."""
        return max(math.nan if seconds is None else seconds for seconds in self.peers)


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What one rank measured, raw; a worker writes it as ``rank-N.json``. All times are seconds."""

    rank: int
    world: int
    pid: int
    samples_per_step: int
    feed_rate: float | None = None  # samples/s that this process's input alone would allow, None if none is read
    warmup: tuple[StepSeconds, ...]
    warmup_settled: bool
    windows: tuple[RankWindow, ...]
    losses: tuple[LossPoint, ...]
    params_sha256: str
    sample_order_sha256: str
    first_batch_sha256: str
    given: Given | None = None  # by the framework's own input pipeline, None where the neutral one gives
    versions: dict[str, str]
    settings: Choices
    peak_bytes: int | None
    rss_bytes: int
    startup: dict[str, float]
    trained_sha256: str | None = None  # of the parameters kept as WEIGHTS, if they are
    passed_over: dict[str, int] = field(default_factory=dict)  # files among the samples that are none, by suffix
    weights_unread: tuple[str, ...] = ()  # what a weights file held besides
    weights_drawn: tuple[str, ...] = ()  # the parameters that it did not hold
    data_classes: int | None = None  # that the labels are of, None if nobody knows
    meters: tuple[Metered, ...] = ()  # that were read around its windows
    devices: tuple[str, ...] | None = None  # names by which drivers know them
    apart: tuple[RankWindow, ...] = ()  # in which meters that disturb were read
    page_cache: tuple[Residency, ...] = ()  # of the dataset's files on rank 0, before warm-up and after the windows


@dataclass(frozen=True)
class StepTime:
    """Percentiles over ``n`` windows of the slowest rank's mean step time, each window weighted by its steps."""

    median: float
    p90: float
    p99: float
    n: int
    unit: str = "s"

    @classmethod
    def of(cls, windows: Sequence[Window]) -> StepTime:
        """Return percentiles of the step time of windows that count, at least one."""
        weights = [one.steps for one in windows]
        means = [max(one.seconds) / one.steps for one in windows]
        middle, p90, p99 = (stats.percentile(means, q, weights=weights) for q in (50, 90, 99))
        return cls(middle, p90, p99, len(windows))


@dataclass(frozen=True)
class Warmup:
    """The steps before the first window, their seconds in all, and whether step time had settled."""

    steps: int
    seconds: float
    settled: bool
    series: tuple[StepSeconds, ...]

    @classmethod
    def of(cls, series: tuple[StepSeconds, ...], *, settled: bool) -> Warmup:
        """Return the warm-up of these steps."""
        return cls(len(series), sum(item.seconds for item in series), settled, series)


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(Record):
    """One framework's training of one model.

    ``loss`` is the mean over the global batch; ``multiply_adds`` those of one sample's forward pass;
    ``rounding`` is how far the loss moved when the initial parameters were changed by some roundings (``rounding.py``);
    ``flops_per_second`` is what throughput implies; ``bounds`` what this machine allows at most;
    ``trained_sha256`` is of the parameters that training ended with, if they were kept beside the record;
    ``page_cache`` is how much of the dataset's files it held, before warm-up and after the windows; ``delivered`` what
    the framework's own input pipeline gave, None where the neutral one did.
    """

    kind: str = "training"
    step_time: StepTime | None = None
    warmup: Warmup | None = None
    loss: tuple[LossPoint, ...] = ()
    rounding: tuple[LossPoint, ...] = ()
    parameters: int | None = None
    multiply_adds: int | None = None
    flops_per_second: float | None = None
    bounds: Bounds | None = None
    params_sha256: str | None = None
    trained_sha256: str | None = None
    sample_order_sha256: str | None = None
    first_batch_sha256: str | None = None
    page_cache: tuple[Residency, ...] = ()
    delivered: Delivered | None = None

    json_rules = {
        "properties": {
            "device": {"enum": list(DEVICES)}, "precision": {"enum": list(PRECISIONS)},
            "throughput": {"properties": {"value": {"exclusiveMinimum": 0}, "unit": {"const": "samples/s"}}},
            **{f"{of}_sha256": {"pattern": "^[0-9a-f]{64}$"}
               for of in ("params", "trained", "sample_order", "first_batch")},
        },
        "if": {"properties": {"status": {"const": "ok"}}},
        "then": {"properties": {
            "throughput": {"type": "object"}, "step_time": {"type": "object"}, "windows": {"minItems": 1},
            "flops_per_second": {"type": "number"}, "params_sha256": {"type": "string"}}},
    }
    provable = True
    old = (1,)

    def shared(self) -> dict[str, str | None]:
        return {"initial parameters": self.params_sha256, "order of samples": self.sample_order_sha256,
                "first batch": self.first_batch_sha256}

    def derived(self, windows: Sequence[Window]) -> Json:
        found = super().derived(windows)
        rate = found["throughput"]
        return {**found, "step_time": StepTime.of(windows) if windows else None,
                "warmup": self.warmup and Warmup.of(self.warmup.series, settled=self.warmup.settled),
                "flops_per_second": training_flops(rate.value, self.multiply_adds or 0) if rate else None,
                "bounds": self.bounds and (self.bounds.beside(rate.value) if rate else self.bounds),
                "global_batch": self.batch_per_worker * self.workers}

    def samples_of(self, window: Window) -> int:
        return window.steps * self.batch_per_worker * self.workers

    def doubts(self, windows: Sequence[Window]) -> tuple[Caveat, ...]:
        if not windows:
            return ()
        found: Bounds | None = self.derived(windows)["bounds"]
        return (*doubts.of_windows(windows), *(bounds.above(found) if found else ()))

    def refutation(self) -> str | None:
        peak = peak_flops(self.system, self.device, self.precision, devices=self.workers)
        rate = self.throughput.value if self.throughput else 0.0
        return (divergence(self.loss) or beyond_physics(self.flops_per_second or 0.0, peak)
                or (self.bounds.refutation(rate) if self.bounds else None))

    def losses(self) -> dict[int, float | None]:
        return {point.step: point.loss for point in self.loss}

    def moved_by_rounding(self) -> dict[int, float]:
        return {point.step: point.loss for point in self.rounding if point.loss is not None}

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase; ``compile`` is what the warm-up steps took beyond a steady one."""
        steady = self.step_time.median if self.step_time else math.inf
        series = self.warmup.series if self.warmup else ()
        known = {name: seconds for name, seconds in self.startup.items() if name != FIRST_STEP}
        return {**known, COMPILE: sum(max(0.0, item.seconds - steady) for item in series)}

    @classmethod
    def upgraded(cls, data: Mapping[str, Any]) -> Json:
        """Return a record of schema 1: its caveats were sentences, and a target was there for all or None."""
        new = dict(data) | {"schema": 2, "kind": cls.kind, "job": upgrade_job(data.get("job", {}), cls.kind)}
        new |= {name: [as_caveat(one) for one in data.get(name, ())] for name in ("warnings", "discarded")}
        new["settings"] = dataclasses.asdict(Choices.of(data.get("settings", {})))
        new["windows"] = [window | {"discarded": as_caveat(window.get("discarded"))}
                          for window in data.get("windows", ())]
        if "target" in new and new["target"] is None:
            del new["target"]
        return new


def beyond_physics(flops: float, peak: float | None) -> str | None:
    """Return why a rate of arithmetic cannot be true, given the device's peak FLOP/s; None if it can, or may."""
    if peak is None or flops <= peak:
        return None
    return (f"impossible: {flops / 1e9:.4g} GFLOP/s is above the device's peak of {peak / 1e9:.4g} GFLOP/s, "
            "so the clock stopped before the work did, or part of the work was skipped")


def divergence(losses: Sequence[LossPoint]) -> str | None:
    """Return why a record fails in which a loss of the series is not a finite number; None if all are."""
    bad = [point.step for point in losses if not stats.is_finite(point.loss)]
    if not bad:
        return None
    return (f"the loss is not finite at step {bad[0]} ({len(bad)} of {len(losses)} recorded): training diverged, "
            "so its speed means nothing; lower --lr or warm it up")


def training_flops(samples_per_second: float, multiply_adds: int) -> float:
    """Return implied FLOP/s: forward, gradient of inputs and of weights, two operations to a multiply-add."""
    return samples_per_second * multiply_adds * 3 * 2


def as_caveat(sentence: str | None) -> Json | None:
    """Return a sentence of schema 1 as a caveat; that on warm-up steps as what it is, for it is no doubt."""
    if sentence is None:
        return None
    found = WARM_UP_STEPS.fullmatch(sentence)
    return dataclasses.asdict(Caveat.of("warm-up steps", steps=int(found[1]), seconds=float(found[2])) if found
                              else Caveat.told(sentence))


def upgrade_job(job: Mapping[str, Any], kind: str) -> Json:
    """Return a job of schema 1, which held what is now of one kind alone, as that of a kind."""
    gone = OF_ONE_KIND if job.get("target") is None else OF_ONE_KIND - {"target", "max_epochs"}
    return {"kind": kind, **{name: value for name, value in job.items() if name not in gone}}


RANK, RECORD = RankResult, TrainingRecord
