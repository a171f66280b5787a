"""Energy and power of a record's windows, by what a meter covers, from counters and from sampled power.

Where there are both, the counter is the number and the integral of power its check. What a window used at its edges is
known to one update of the meter, so intervals are that much wider than what repetition alone would give; how right a
meter is, no repetition tells (:mod:`dlcompare.core.meters.board`).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.meters import series
from dlcompare.core.meters.meter import ENERGY, POWERS, SERIES, TEMPERATURE, UTILISATION, Metered, Series

from . import stats

LAST_SECONDS = 0.25  # of what was sampled: its utilisation was asked then when nothing of the job was left in it
REST_SECONDS = 1.0  # at the begin and end of what was sampled, when the job had not begun, or had ended
READING_SECONDS = 0.05  # between readings, where a meter's own update period is not known
COUNTED, INTEGRATED = "counter", "integral"
ALL = "all GPUs"
PACKAGE = "cpu package"  # what scopes of processors begin with


@dataclass(frozen=True)
class Span:
    """A window as its energy is asked of it: when it began by the machine's clock, seconds, samples, counted joules."""

    begin: float | None
    seconds: float
    samples: int
    joules: Mapping[str, float] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[float, float]:
        """Return its begin and its end."""
        begin = self.begin or 0.0
        return begin, begin + self.seconds


@dataclass(frozen=True)
class Spent:
    """Energy of one scope over the windows that count and are long enough, ``windows`` of them.

    ``per_sample`` joules: the median of windows, with its bootstrap interval, each end wider by ``edge``, the share
    that may be of what came before or after; by a ``counter`` or the ``integral`` of power (``method``), ``other`` by
    the other one. ``watts``: mean, ``peak_watts``, and before and after the job. ``update_s``: every how many seconds
    the meter has news; ``averaging_s``: over how many it averages, at most; ``duty``: of which share of time it knows,
    as published.
    """

    scope: str
    per_sample: float
    low: float | None
    high: float | None
    method: str
    watts: float
    windows: int
    edge: float = 0.0
    other: float | None = None
    peak_watts: float | None = None
    watts_before: float | None = None
    watts_after: float | None = None
    update_s: float | None = None
    averaging_s: float | None = None
    devices: int = 0  # accelerators that it covers
    duty: float | None = None

    @property
    def disagreement(self) -> float | None:
        """Return by which share of the integral the counter differs from it."""
        if not self.other:
            return None
        counted, integrated = (self.per_sample, self.other) if self.method == COUNTED else (self.other, self.per_sample)
        return counted / integrated - 1 if integrated else None


@dataclass(frozen=True)
class Scope:
    """What a record has of one scope of a SERIES meter: its counter of joules and its power, if it has them."""

    name: str
    meter: Metered
    counter: Series | None
    power: Series | None

    def joules(self, begin: float, end: float) -> tuple[float | None, float | None]:
        """Return what was used in a span by the counter and by the integral of power, None where one does not tell."""
        counted = None
        if self.counter and not series.stands_still(self.counter, begin, end):
            counted = series.grown(self.counter, begin, end)
        return counted, series.integral(self.power, begin, end) if self.power else None

    def published(self) -> Mapping[str, Any]:
        """Return what is published of the power that is integrated."""
        about = (self.meter.about.get(self.name) or {}).get("published") or {}
        return (about.get(self.power.key.removeprefix(f"{self.name} ")) if self.power else None) or {}

    def update_s(self) -> float | None:
        """Return every how many seconds what is used has news: as was seen before the job, else in the series."""
        about = (self.meter.about.get(self.name) or {}).get("update_s") or {}
        known = [about.get(ENERGY), series.update_period(self.counter) if self.counter else None]
        return next((one for one in known if one), series.update_period(self.power) if self.power else None)


def scopes(meters: Sequence[Metered], devices: Sequence[Sequence[str]]) -> list[Scope]:
    """Return the scopes that were sampled and that a job used: of accelerators, those of its ``devices``, by rank."""
    used = {scope for each in devices for scope in each}
    found = []
    for meter in (one for one in meters if one.sort == SERIES):
        names = dict.fromkeys(quantity.scope for quantity in meter.quantities)
        by_key = {one.key: one for one in meter.series}
        for name in names:
            if name in meter.devices and name not in used:
                continue
            power = next((by_key[f"{name} {one}"] for one in POWERS if f"{name} {one}" in by_key), None)
            if power or f"{name} {ENERGY}" in by_key:
                found.append(Scope(name, meter, by_key.get(f"{name} {ENERGY}"), power))
    return found


def spent(meters: Sequence[Metered], devices: Sequence[Sequence[str]], spans: Sequence[Span]) -> tuple[Spent, ...]:
    """Return what windows spent, by scope; of several accelerators also in all, if each of them has a number."""
    if not meters:
        return ()
    around = [one for scope in dict.fromkeys(scope for span in spans for scope in span.joules)
              if (one := by_windows(scope, meters, spans))]
    sampled = scopes(meters, devices)
    each = [one for scope in sampled if (one := by_series([scope], scope.name, spans))]
    gpus = [scope for scope in sampled if scope.name in scope.meter.devices]
    whole = len(gpus) > 1 and {one.name for one in gpus} == {name for rank in devices for name in rank}
    total = by_series(gpus, ALL, spans) if whole else None
    return (*around, *each, *((total,) if total else ()))


def by_windows(scope: str, meters: Sequence[Metered], spans: Sequence[Span]) -> Spent | None:
    """Return what was read around windows of one scope; None if none is long enough, or one was not read."""
    shortest = max((one.shortest for one in meters if scope in {quantity.scope for quantity in one.quantities}),
                   default=0.0)
    long = [span for span in spans if span.seconds >= shortest]
    found = [span.joules[scope] for span in long if scope in span.joules]
    if not found or len(found) < len(long):
        return None
    watts = sum(found) / sum(span.seconds for span in long)
    return made(scope, [(joules, None) for joules in found], long, COUNTED, watts=watts, edge=0.0)


def by_series(found: Sequence[Scope], name: str, spans: Sequence[Span]) -> Spent | None:
    """Return what sampled scopes spent together; None if one of them, in one window, has no number."""
    long = [span for span in spans if span.begin is not None and span.seconds >= max(one.meter.shortest
                                                                                     for one in found)]
    used = [summed([scope.joules(*span.ends) for scope in found]) for span in long]
    method = next((way for place, way in enumerate((COUNTED, INTEGRATED))
                   if used and all(pair[place] is not None for pair in used)), None)
    if method is None:
        return None
    seconds = sum(span.seconds for span in long)
    update = max((period for one in found if (period := one.update_s())), default=READING_SECONDS)
    pairs = used if method == COUNTED else [(integrated, counted) for counted, integrated in used]
    watts = sum(first or 0.0 for first, _ in pairs) / seconds
    powers = [one.power for one in found if one.power]
    shown = {"peak_watts": peak(powers, long), **at_rest(powers)} if len(powers) == len(found) else {}
    alone = found[0] if len(found) == 1 else None
    told = {"devices": len([one for one in found if one.name in one.meter.devices]), "update_s": update,
            "averaging_s": series.averaging(alone.power) if alone and alone.power else None,
            "duty": alone.published().get("duty") if alone else None}
    return made(name, pairs, long, method, watts=watts, edge=update / seconds, **shown, **told)


def summed(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    """Return the sums of counted and of integrated joules, each None if a scope lacks it: no partial totals."""
    counted, integrated = zip(*pairs, strict=True)
    return total(counted), total(integrated)


def total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def made(scope: str, pairs: Sequence[tuple[float | None, float | None]], spans: Sequence[Span], method: str, *,
         edge: float, **more: Any) -> Spent:
    """Return joules per sample of windows; the first of each pair counts, the second is by the other method."""
    each = [(first or 0.0) / span.samples for (first, _), span in zip(pairs, spans, strict=True)]
    others = [second / span.samples for (_, second), span in zip(pairs, spans, strict=True) if second is not None]
    low, high = stats.bootstrap_interval(each) if len(each) > 1 else (None, None)
    return Spent(scope, stats.median(each), None if low is None else low * (1 - edge),
                 None if high is None else high * (1 + edge), method, windows=len(each), edge=edge,
                 other=stats.median(others) if others and len(others) == len(each) else None, **more)


def peak(powers: Sequence[Series], spans: Sequence[Span]) -> float | None:
    """Return the largest power in any window; of several scopes, the sum of theirs in the window where that is most."""
    each = [[series.largest(one, *span.ends) for one in powers] for span in spans]
    return max((known for values in each if (known := total(values)) is not None), default=None)


def at_rest(powers: Sequence[Series]) -> dict[str, float | None]:
    """Return the power before the job began and after it had ended, of all scopes together."""
    before = total([series.mean(one, one.begin, one.begin + REST_SECONDS) for one in powers])
    after = total([series.mean(one, one.end - REST_SECONDS, one.end) for one in powers])
    return {"watts_before": before, "watts_after": after}


def temperatures(meters: Sequence[Metered], devices: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the temperature that each scope of a job began with, in degrees Celsius."""
    used = {scope for each in devices for scope in each}
    found = {scope: one for meter in meters for one in meter.series for scope in used
             if one.key == f"{scope} {TEMPERATURE}"}
    return {scope: one.values[0] for scope, one in found.items() if stats.is_finite(one.values[0])}


def in_use(meters: Sequence[Metered], devices: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return for which share of the time each accelerator worked before the job or after it, whichever is more: that
    was for others. Of a job's ``devices``, or of all if those are not known; of no use without a power, for then nobody
    waited for rest.
    """
    used = {scope for each in devices for scope in each}
    found = {}
    for meter in meters:
        by_key = {one.key: one for one in meter.series}
        for scope in (one for one in meter.devices if one in used or not used):
            seen = by_key.get(f"{scope} {UTILISATION}")
            if seen is None or not any(f"{scope} {name}" in by_key for name in (ENERGY, *POWERS)):
                continue
            shares = (series.mean(seen, seen.begin, seen.begin + REST_SECONDS),
                      series.mean(seen, seen.end - LAST_SECONDS, seen.end))
            if known := [share for share in shares if share is not None]:
                found[scope] = max(known)
    return found


def over_rounds(each: Sequence[Sequence[Spent]]) -> tuple[Spent, ...]:
    """Return what the rounds of one side spent, by scope; a scope that a round lacks is left out.

    Joules per sample: the median of rounds, with its bootstrap interval; watts: means of rounds, but the largest peak.
    """
    if len(each) == 1:
        return tuple(each[0])
    found = []
    for first in each[0] if each else ():
        same = [one for spent_ in each for one in spent_ if one.scope == first.scope]
        if len(same) < len(each):
            continue
        low, high = stats.bootstrap_interval([one.per_sample for one in same])
        edge = max(one.edge for one in same)
        others = [one.other for one in same if one.other is not None]
        peaks = [one.peak_watts for one in same if one.peak_watts is not None]
        found.append(dataclasses.replace(
            first, per_sample=stats.median([one.per_sample for one in same]), low=low * (1 - edge),
            high=high * (1 + edge), watts=statistics.mean(one.watts for one in same), edge=edge,
            windows=sum(one.windows for one in same), peak_watts=max(peaks, default=None),
            other=stats.median(others) if len(others) == len(same) else None,
            watts_before=mean([one.watts_before for one in same]), watts_after=mean([one.watts_after for one in same])))
    return tuple(found)


def mean(values: Sequence[float | None]) -> float | None:
    """Return a mean, None if one of the values is."""
    known = total(values)
    return None if known is None else known / len(values)


def headline(found: Sequence[Spent], meters: Sequence[Metered] = (), devices: Sequence[Sequence[str]] = (), *,
             device: str = "cpu") -> Spent | None:
    """Return the one number for a table of many jobs: of all accelerators that a job used, of a job on "cpu" of all
    processor packages together; None if one of them has no number."""
    used = {scope for each in devices for scope in each}
    if device != "cpu" or used or any(one.devices for one in found):
        whole = of_accelerators(found)
        return whole if whole and whole.devices >= len(used) else None
    packages = [one for one in found if one.scope.startswith(PACKAGE)]
    there = {scope for meter in meters for scope in (*meter.absent, *(one.scope for one in meter.quantities))
             if scope.startswith(PACKAGE)}
    if not packages or there - {one.scope for one in packages}:
        return None
    return packages[0] if len(packages) == 1 else dataclasses.replace(
        packages[0], scope="cpu packages", low=None, high=None, per_sample=sum(one.per_sample for one in packages),
        watts=sum(one.watts for one in packages))


def of_accelerators(found: Sequence[Spent]) -> Spent | None:
    """Return what all accelerators of a job spent together; None if that is not known."""
    each = [one for one in found if one.devices]
    whole = [one for one in each if one.scope == ALL] or each
    return whole[0] if len(whole) == 1 else None
