"""The raw result of a rank, and the record of a collective: times of every call, by size."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlcompare.core.plugins.collectives import ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, Message
from dlcompare.core.records.alpha_beta import AlphaBeta, fit, resampled_medians
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.disturbance import cores, disturbance
from dlcompare.core.records.record import Record, Throughput, Window
from dlcompare.core.records.stats import median, percentile

from .sizes import words


@dataclass(frozen=True)
class Wrong:
    """What a rank found in a result: how many values differ, where the first is, it, and what it should be."""

    rank: int
    values: int
    position: int
    got: float
    wanted: float
    call: int  # timed calls from 0; before them negative, after them higher

    @property
    def text(self) -> str:
        return (f"rank {self.rank} got {self.values:,} wrong value{'s' * (self.values != 1)} in call {self.call}, the "
                f"first at position {self.position:,}: {self.got:g} instead of {self.wanted:g}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of one size, in place or not, besides its times.

    ``asked`` is the size before it was cut to whole parts for all ranks; ``checked``: calls whose result was, on
    each rank; ``ended``: what came first, "calls" or
    "seconds"; ``watched``: seconds of all calls with what was between them, barriers and checks, over which
    ``foreign_cores`` and the like are; ``refused``: why it was not measured.
    """

    size: int
    asked: int
    in_place: bool
    warmup: int = 0
    checked: int = 0
    ended: str = ""
    started: float = 0.0
    watched: float = 0.0
    foreign_cores: float | None = None
    throttled: int | None = None
    paused: float | None = None
    wrong: Wrong | None = None
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class RankPoint(Measured):
    """One size on one rank: seconds of each call."""

    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class RankResult:
    """All that one rank measured."""

    rank: int
    world: int
    points: tuple[RankPoint, ...]
    settings: Choices
    versions: dict[str, str]
    rss_bytes: int
    startup: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """Seconds of a call, slowest rank: the median with its 95 % interval, percentiles; and bandwidths, bytes a second.

    The algorithm bandwidth is size over median time; the bus bandwidth is that times ``factor`` (nccl-tests'
    PERFORMANCE.md), which makes collectives comparable with what a link can carry.
    """

    median: float
    low: float
    high: float
    least: float
    p95: float
    p99: float
    algorithm_bandwidth: float
    bus_bandwidth: float

    @classmethod
    def of(cls, size: int, seconds: Sequence[float], factor: float) -> Figures:
        """Return the figures of some calls, at least one."""
        middle, drawn = median(seconds), resampled_medians(seconds, random.Random(0))
        return cls(middle, percentile(drawn, 2.5), percentile(drawn, 97.5), min(seconds), percentile(seconds, 95),
                   percentile(seconds, 99), size / middle, factor * size / middle)


def bus_factor(collective: str, world: int) -> float:
    """Return what a bus carries of each byte of a collective's size, at least; the size is the larger of what a rank
    gives and gets.
    """
    return {ALL_REDUCE: 2 * (world - 1) / world, ALL_GATHER: (world - 1) / world,
            REDUCE_SCATTER: (world - 1) / world}.get(collective, 1.0)


@dataclass(frozen=True, kw_only=True)
class Point(Measured):
    """One size: microseconds of each call on the slowest rank, the median of each rank, and what follows from them.

    Results were checked on every rank, before, after and of the last timed call; a size with a wrong one has no
    ``figures``.
    """

    micros: tuple[float, ...] = ()
    rank_micros: tuple[float, ...] = ()
    figures: Figures | None = None
    disturbed: bool = False

    @property
    def seconds(self) -> list[float]:
        return [one / 1e6 for one in self.micros]

    def derived(self, factor: float, usable: float | None) -> Point:
        """Return it with what follows from its raw values."""
        figures = Figures.of(self.size, self.seconds, factor) if self.micros and not self.wrong else None
        whole = dataclasses.replace(self.window, seconds=(self.watched,)) if self.watched else self.window
        return dataclasses.replace(self, figures=figures, disturbed=disturbance(whole, usable) is not None)

    @property
    def window(self) -> Window:
        """Return all its calls as one window, a call being a sample."""
        calls = max(1, len(self.micros))
        return Window(steps=calls, samples=calls, seconds=(sum(self.seconds) or 1.0,), started=self.started,
                      foreign_cores=self.foreign_cores, throttled=self.throttled, paused=self.paused)


@dataclass(frozen=True)
class Fitted:
    """The line through all sizes, in place or not."""

    in_place: bool
    line: AlphaBeta


@dataclass(frozen=True, kw_only=True)
class CommRecord(Record):
    """One collective through one framework's engine. ``how``: what of its own the framework does it by.

    ``sizes`` holds a point for each size and way; a failed record keeps the points that are right. ``messages``: what
    a training step sends, by model, as the framework itself showed it.
    """

    kind: str = "comm"
    collective: str
    how: str = ""
    sizes: tuple[Point, ...] = ()
    fits: tuple[Fitted, ...] = ()
    messages: dict[str, tuple[Message, ...]] = field(default_factory=dict)

    unit: ClassVar[str] = "calls/s"

    @property
    def conditions(self) -> str:
        found = [f"of {words(one.size)}{', in place' * one.in_place}" for one in self.sizes[:1] if len(self.sizes) == 1]
        return ", ".join([" ".join([self.collective, *found]), f"{self.workers} workers"])

    @property
    def group(self) -> tuple[Any, ...]:
        one = self.sizes[0] if len(self.sizes) == 1 else None
        return (self.kind, self.collective, self.workers, one and one.size, one and one.in_place, *self.point.items())

    @property
    def best(self) -> tuple[Point, ...]:
        """Return the points as training would have them: in place where the engine is."""
        placed = {one.size for one in self.sizes if one.in_place and one.figures}
        return tuple(one for one in self.sizes if one.figures and one.in_place == (one.size in placed))

    @property
    def line(self) -> AlphaBeta | None:
        """Return the line that training's messages follow: in place where the engine is."""
        ways = {one.in_place: one.line for one in self.fits}
        return ways.get(True) or ways.get(False)

    def derived(self, windows: Sequence[Window]) -> dict[str, Any]:
        factor, usable = bus_factor(self.collective, self.workers), cores(self.system)
        points = tuple(one.derived(factor, usable) for one in self.sizes)
        return {"throughput": None, "sizes": points, "fits": fits(points)}

    def refutation(self) -> str | None:
        found = [one for one in self.sizes if one.wrong]
        return wrong_reason(self.collective, found) if found else None

    def by_size(self) -> list[CommRecord]:
        """Return a record for each size that has numbers, with calls a second as its throughput; what holds for all
        sizes, start-up and warnings, stays here.
        """
        return [dataclasses.replace(self, status="ok", reason=None, sizes=(one,), fits=(), disturbed=one.disturbed,
                                    windows=(one.window,), throughput=rate(one), startup={}, warnings=())
                for one in self.sizes if one.figures]


@dataclass(frozen=True, kw_only=True)
class Carried(CommRecord):
    """One size of a collective as a cell of a sweep: its throughput is its bus bandwidth."""

    unit = "B/s"
    scale = (1e6, "bus MB/s")
    scales = False  # a link carries what it carries, however many are at its ends
    over = ("what a link carries at least, by nccl-tests' definitions; the slowest rank's time, median over calls with "
            "its 95 % bootstrap interval; bytes as they were asked for")

    @classmethod
    def of(cls, one: CommRecord) -> Carried:
        """Return a record of one size, or of none that was measured, as a cell."""
        known = {spec.name: getattr(one, spec.name) for spec in dataclasses.fields(one)} | {"model": one.collective}
        if not one.throughput:
            return cls(**known)
        (point,) = one.sizes
        each = bus_factor(one.collective, one.workers) * point.size  # bytes of a call
        rate = one.throughput
        known |= {
            "throughput": Throughput(each * rate.value, each * (rate.low or 0.0), each * (rate.high or 0.0), cls.unit),
            "windows": tuple(dataclasses.replace(window, samples=max(1, round(each * window.steps)))
                             for window in one.windows),
            "point": {"collective": one.collective, "way": "in place" if point.in_place else "out of place",
                      "bytes": point.asked, **one.point}}
        return cls(**known)


def carried(records: Sequence[CommRecord]) -> list[Carried]:
    """Return a cell for each size of each record; collective, way and size are axes too where there are several."""
    found = [Carried.of(dataclasses.replace(one, warnings=record.warnings))
             for record in records for one in record.by_size() or (record,)]
    asked = {name for record in records for name in record.point}
    several = {name for one in found for name, value in one.point.items()
               if any(other.point.get(name, value) != value for other in found)}
    return [dataclasses.replace(one, point={name: value for name, value in one.point.items()
                                            if name in asked | several}) for one in found]


def rate(point: Point) -> Throughput:
    """Return a point's calls a second."""
    assert point.figures
    return Throughput(1 / point.figures.median, 1 / point.figures.high, 1 / point.figures.low, CommRecord.unit)


def fits(points: Sequence[Point]) -> tuple[Fitted, ...]:
    """Return the lines through points in place and through the others, where there are enough."""
    found: dict[bool, Mapping[int, Sequence[float]]] = {
        way: {one.size: one.seconds for one in points if one.in_place == way and one.figures} for way in (False, True)}
    return tuple(Fitted(way, line) for way, times in found.items() if (line := fit(times)))


def wrong_reason(collective: str, points: Sequence[Point]) -> str:
    """Return the sentence that says which sizes came out wrong."""
    said = [f"{words(one.size)}{' in place' * one.in_place}: {one.wrong.text}" for one in points if one.wrong]
    return f"wrong payload of {collective}: {'; '.join(said)}. Other sizes are kept"


def caveats(record: CommRecord) -> list[Caveat]:
    """Return what there is to say of a record's sizes and lines."""
    busy = [one for one in record.sizes if one.disturbed]
    found = [Caveat.of("comm disturbed", count=len(busy), sizes=len(record.sizes),
                       foreign=max(one.foreign_cores or 0.0 for one in busy))] if busy else []
    cut = {one.asked: one.size for one in record.sizes if one.asked != one.size}
    if cut:
        found.append(Caveat.of("comm cut", workers=record.workers, sizes=[list(one) for one in cut.items()]))
    found += [Caveat.of("comm fit", in_place=one.in_place, worst=one.line.worst,
                        size=max(one.line.residuals, key=lambda size: abs(one.line.residuals[size] - 1)))
              for one in record.fits if one.line.poor]
    return found


RANK, RECORD = RankResult, CommRecord
