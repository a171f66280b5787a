"""The raw result of an inference job, and the record of one cell of the matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.meters.meter import Metered
from dlcompare.core.records import disturbance
from dlcompare.core.records.bounds import Bounds
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Record, Window

from .accuracy import concluded

Json = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """Which precision most layers that multiply matrices ran in, how many there are, and which ran in another."""

    precision: str
    layers: int
    left: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """How an engine's build came to be: seconds when it was made, bytes, whether it was there, its key."""

    seconds: float
    bytes: int
    cached: bool
    key: str


@dataclass(frozen=True)
class Measured:
    """Raw times in seconds of one session at one batch size; ``copies`` to (``place``) and from (``fetch``) the device;
    ``apart`` windows are those in which meters that disturb were read.
    """

    first_run: float
    warmup: tuple[float, ...]
    settled: bool
    windows: tuple[Window, ...]
    latencies: tuple[float, ...]
    copies: dict[str, tuple[float, ...]]
    apart: tuple[Window, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RankResult:
    """What the process of a job leaves; which of the last five there are depends on its task.

    ``seconds`` is how long a calibration took; ``shares`` by layer which share of an exact sum INT8 came to.
    """

    build: Build
    startup: dict[str, float]
    ran: Ran
    settings: Choices
    versions: dict[str, str]
    peak_bytes: int | None
    rss_bytes: int
    passed_over: dict[str, int] = field(default_factory=dict)  # files among the samples that are none, by suffix
    measured: Measured | None = None
    samples: int | None = None
    seconds: float | None = None
    scenario: dict[str, Any] | None = None
    shares: dict[str, float] | None = None
    meters: tuple[Metered, ...] = ()  # that were read around windows
    devices: tuple[str, ...] | None = None  # names by which drivers know them


@dataclass(frozen=True, kw_only=True)
class InferenceRecord(Record):
    """One engine's inference of one network at one precision: accuracy, speed at a batch size, a scenario, or a search.

    ``task`` says which. ``network``, ``calibration`` and ``asked`` are the same in all records of a run: whose network,
    how INT8 was made, what was asked for. ``accuracy`` holds ``metric``, ``samples``, ``right``, ``top5`` and
    ``against_fp32``; accuracies are shares of 1.
    """

    kind: str = "inference"
    task: str = "measure"
    ran: Ran | None = None
    build: Build | None = None
    measured: Measured | None = None
    accuracy: dict[str, Any] | None = None
    scenario: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    network: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    bounds: Bounds | None = None  # of a speed, in the precisions whose peak can be measured

    @property
    def group(self) -> tuple[Any, ...]:
        return (*super().group, self.batch_per_worker)

    def derived(self, windows: Sequence[Window]) -> Json:
        found = super().derived(windows)
        rate = found["throughput"]
        return {**found, "accuracy": self.accuracy and concluded(self.accuracy),
                "bounds": self.bounds.beside(rate.value) if self.bounds and rate else self.bounds}

    def samples_of(self, window: Window) -> int:
        return window.steps * self.batch_per_worker


def fill(record: InferenceRecord, result: RankResult, about: Mapping[str, Any]) -> InferenceRecord:
    """Return a record with what its process measured and what the run knows besides."""
    measured = result.measured
    record = dataclasses.replace(
        record, ran=result.ran, build=result.build, startup=result.startup, settings=result.settings,
        environment=result.versions, peak_bytes=result.peak_bytes, rss_bytes=result.rss_bytes,
        scenario=result.scenario, meters=result.meters,
        measured=measured and dataclasses.replace(measured, windows=(), apart=()),
        windows=measured.windows if measured else (), apart=measured.apart if measured else (), **about)
    if measured is None:
        return record
    first = {"first run": measured.first_run}
    record = disturbance.discard_disturbed(dataclasses.replace(record, startup={**record.startup, **first}))
    return dataclasses.replace(record, **record.derived(disturbance.windows_that_count(record.windows)))
