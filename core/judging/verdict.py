"""Which framework is faster, and how surely: pure functions of records.

Throughputs are compared in logarithms, round by round (``pairs``): what the machine did to a round, or to two windows
that followed one another, it did to both sides of the ratio. Where two sides were not interleaved in one run there is a
ratio, and a reason why it is no verdict.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dlcompare.core.records import stats
from dlcompare.core.records.record import Json, Record

from .judging import AS_USUAL, Judging
from .pairs import log_ratios, rate

Interval = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)  # records cannot be hashed
class Side:
    """What was measured under one name in one run: a record for each round, or a single one."""

    run: str
    name: str
    records: tuple[Record, ...]

    @property
    def ran(self) -> list[Record]:
        """Return the records that hold numbers."""
        return [record for record in self.records if record.status == "ok" and record.throughput]

    @property
    def good(self) -> list[Record]:
        """Return the records that a verdict may rest on."""
        return [record for record in self.ran if not record.disturbed]

    @property
    def by_round(self) -> dict[int, Record]:
        """Return the records of the rounds in which nothing disturbed the machine."""
        return {record.round or 0: record for record in self.good}

    @property
    def interleaved(self) -> bool:
        return any(record.round is not None for record in self.records)

    @property
    def open_ended(self) -> bool:
        """Return whether the rounds went on until a result pleased, which makes plain intervals too narrow."""
        return any(record.round is not None and record.rounds is None for record in self.records)

    @property
    def throughput(self) -> float | None:
        """Return samples per second: the geometric mean over rounds; of disturbed ones if there are no others."""
        rates = [rate(record) for record in self.good or self.ran]
        return statistics.geometric_mean(rates) if rates else None

    @cached_property
    def interval(self) -> Interval:
        """Return the 95 % interval of the throughput: over rounds, or over the windows of a single record."""
        if len(self.by_round) > 1:
            logs = [math.log(rate(record)) for record in self.by_round.values()]
            low, high = stats.mean_interval(logs, anytime=self.open_ended)
            return math.exp(low), math.exp(high)
        lone = self.good[0].throughput if self.good and not self.interleaved else None
        return (lone.low, lone.high) if lone else (None, None)


@dataclass(frozen=True)
class Verdict:
    """One side against its baseline: the ratio of throughputs, and a word for it or the reason there is none.

    ``word``: faster, slower, same (the whole interval within the margin) or undecided; ``resolution`` is the smallest
    difference from 1 that this run could have seen, ``rounds`` the number the ratio rests on, ``discarded`` how many
    more ran but were disturbed on either side; ``bootstrap`` is the plain bootstrap interval over rounds.
    """

    run: str
    name: str
    baseline_run: str
    baseline: str
    ratio: float | None
    word: str | None = None
    low: float | None = None
    high: float | None = None
    bootstrap: Interval = (None, None)
    resolution: float | None = None
    rounds: int = 0
    discarded: int = 0
    reason: str | None = None  # why there is no word


@dataclass(frozen=True)
class Comparison:
    """All that was measured of one model, and the verdicts on it."""

    model: str
    margin: float
    baseline: Side
    sides: tuple[Side, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def point(self) -> Json:
        """Return the values of what was swept, the same for all sides; {} if nothing was."""
        return self.baseline.records[0].point

    def verdict(self, side: Side) -> Verdict | None:
        """Return the verdict on a side within its own run; None on a baseline."""
        return next((v for v in self.verdicts if (v.run, v.name, v.baseline_run) == (side.run, side.name, side.run)),
                    None)

    def side(self, run: str, name: str) -> Side:
        """Return the side of a run with that name."""
        return next(side for side in self.sides if (side.run, side.name) == (run, name))


def compare(records: Sequence[Record], judging: Judging = AS_USUAL) -> list[Comparison]:
    """Return a comparison for each group among the records; UsageError if there is no such baseline."""
    judging.check(dict.fromkeys(record.name for record in records))
    groups = dict.fromkeys(record.group for record in records)
    return [compare_sides(sides([record for record in records if record.group == group]), judging) for group in groups]


def sides(records: Sequence[Record]) -> list[Side]:
    """Return the sides in the order in which their first records come."""
    keys = dict.fromkeys((record.run, record.name) for record in records)
    return [Side(*key, tuple(r for r in records if (r.run, r.name) == key)) for key in keys]


def compare_sides(found: Sequence[Side], judging: Judging) -> Comparison:
    base = base_of(found, judging.baseline) or base_of(found, None) or found[0]
    return Comparison(found[0].records[0].model, judging.margin, base, tuple(found),
                      tuple(judge(found, base, judging)))


def judge(found: Sequence[Side], base: Side, judging: Judging) -> Iterator[Verdict]:
    """Yield the verdicts within each run, then the ratios of what other runs measured to the first baseline."""
    for run in dict.fromkeys(side.run for side in found):
        here = [side for side in found if side.run == run]
        own = base_of(here, base.name) or (base_of(here, None) if judging.baseline is None else None)
        yield from (verdict(side, own, judging.margin) for side in here if own and side is not own)
    yield from (verdict(side, base, judging.margin) for side in found if side.run != base.run)


def base_of(found: Sequence[Side], name: str | None) -> Side | None:
    """Return the side of that name; for None the first that has numbers."""
    return next((side for side in found if (side.name == name if name is not None else side.ran)), None)


def verdict(side: Side, base: Side, margin: float) -> Verdict:
    """Return the verdict on a side against its baseline."""
    about = (side.run, side.name, base.run, base.name)
    ours, theirs = side.throughput, base.throughput
    if ours is None or theirs is None:
        return Verdict(*about, None, reason=f"{side.name if ours is None else base.name} has no number")
    both = side.by_round.keys() & base.by_round.keys()
    reason = inconclusive(side, base, rounds=len(both))
    if reason:
        return Verdict(*about, ours / theirs, rounds=len(both), discarded=count_disturbed(side, base), reason=reason)
    logs = log_ratios(side.by_round, base.by_round)
    low, high = stats.mean_interval(logs, anytime=side.open_ended)
    plain = stats.bootstrap_mean(logs)
    return Verdict(*about, math.exp(statistics.fmean(logs)), word=word(low, high, margin), low=math.exp(low),
                   high=math.exp(high), bootstrap=(math.exp(plain[0]), math.exp(plain[1])),
                   resolution=math.expm1((high - low) / 2), rounds=len(both), discarded=count_disturbed(side, base))


def word(low: float, high: float, margin: float) -> str:
    """Return the word for an interval of the logarithm of a ratio."""
    if max(-low, high) <= math.log1p(margin):
        return "same"
    return "faster" if low > 0 else "slower" if high < 0 else "undecided"


def inconclusive(side: Side, base: Side, *, rounds: int) -> str | None:
    """Return why nothing can be concluded from the ratio of two sides that have numbers; None if something can."""
    if side.run != base.run:
        here, there = machine(side.ran[0].system), machine(base.ran[0].system)
        where = "on the same kind of machine" if here == there else f"on another machine ({here}; {there})"
        return f"measured at another time, {where}"
    if searched(side, base) and (ours := side.ran[0].global_batch) != (theirs := base.ran[0].global_batch):
        return f"of unlike batch, {ours} and {theirs} in all: each has the largest that fits"
    if not (side.interleaved and base.interleaved):
        return "each ran once, one after the other, not interleaved in rounds"
    if rounds < 2:
        return f"{rounds or 'no'} round{'s' * (rounds != 1)} in which both ran undisturbed"
    return None


def searched(*sides: Side) -> bool:
    """Return whether any side's batch is the largest that fits, instead of one that was asked for."""
    return any(record.job.get("tried") for side in sides for record in side.ran)


def count_disturbed(side: Side, base: Side) -> int:
    """Return how many rounds ran on both sides and were disturbed on one of them."""
    ran, good = ({r.round for r in one} & {r.round for r in two}
                 for one, two in ((side.ran, base.ran), (side.good, base.good)))
    return len(ran) - len(good)


def machine(system: Json) -> str:
    """Return in a few words what a machine is."""
    cpu, cards = system.get("cpu") or {}, [item["name"] for item in system.get("accelerators", [])]
    counted = [f"{cards.count(name)} x {name}" for name in dict.fromkeys(cards)]
    return ", ".join([f"{cpu['model']}, {cpu['usable']} cores" if cpu else "unknown", *counted])

