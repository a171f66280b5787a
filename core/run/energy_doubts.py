"""What there is to doubt in a record's joules and watts, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dlcompare.core.meters import series
from dlcompare.core.meters.meter import ENERGY, HELD_BACK, WINDOW, Metered
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.energy import Scope, Span, Spent, scopes

DISAGREE = 0.05  # counter against integral: twice what boards of one kind differ by
# What holds clocks back (NVML's nvmlClocksEventReasons) and says that a device was not at its best; shares of windows.
REASONS = {0x4: "the power limit", 0x8: "the hardware", 0x20: "heat", 0x40: "heat, by the hardware",
           0x80: "the power supply"}
RARE = 0.01


def doubts(meters: Sequence[Metered], devices: Sequence[Sequence[str]], spans: Sequence[Span],
           found: Sequence[Spent]) -> Iterator[Caveat]:
    """Yield what there is to doubt in these numbers, or why there are none."""
    if any((meter.about.get("sampler") or {}).get("replayed") for meter in meters):
        yield Caveat.of("replayed meters")
    for meter in meters:
        if meter.lost:
            yield Caveat.of("meter lost", meter=meter.name, reason=meter.lost)
    if not spans:  # as of a job that examines, and is not timed
        return
    told = {one.scope for one in found}
    for meter, name in around(meters):
        if name not in told:
            yield missing(meter, name, spans)
    for scope in scopes(meters, devices):
        if scope.name not in told:
            yield missing(scope.meter, scope.name, spans)
        if fallen(scope, spans):
            yield Caveat.of("counter unusable", scope=scope.name)
        if shares := held_back(scope, spans):
            yield Caveat.of("clocks held back", scope=scope.name, shares=shares)
    for one in found:
        if one.disagreement is not None and abs(one.disagreement) > DISAGREE:
            yield Caveat.of("energy disagrees", scope=one.scope, share=one.disagreement, bound=DISAGREE)
        if one.duty is not None and one.duty < 1:
            yield Caveat.of("part-time power", scope=one.scope, duty=one.duty)


def fallen(scope: Scope, spans: Sequence[Span]) -> bool:
    """Return whether a counter was read, and told nothing of a window that is long enough: it stood still or was reset.
    """
    return scope.counter is not None and any(
        series.covers(scope.counter, *span.ends) and scope.joules(*span.ends)[0] is None for span in spans
        if span.begin is not None and span.seconds >= scope.meter.shortest)


def held_back(scope: Scope, spans: Sequence[Span]) -> dict[str, float]:
    """Return for which shares of the windows something held a scope's clocks back, by what it was, rare ones left out.
    """
    by_key = {one.key: one for one in scope.meter.series}
    found, seconds = by_key.get(f"{scope.name} {HELD_BACK}"), sum(span.seconds for span in spans)
    if found is None:
        return {}
    standing = [pair for span in spans if span.begin is not None and series.covers(found, *span.ends)
                for pair in series.standing(found, *span.ends)]
    shares = {what: sum(long for value, long in standing if int(value) & bit) / seconds
              for bit, what in REASONS.items()}
    return {what: share for what, share in shares.items() if share > RARE}


def around(meters: Sequence[Metered]) -> Iterator[tuple[Metered, str]]:
    """Yield the scopes whose joules are counted around windows, each with its meter."""
    for meter in meters:
        if meter.sort == WINDOW and not meter.lost:
            yield from ((meter, one.scope) for one in meter.quantities if (one.name, one.unit) == (ENERGY, "J"))


def missing(meter: Metered, scope: str, spans: Sequence[Span]) -> Caveat:
    """Return why a scope that was read has no number."""
    longest = max((span.seconds for span in spans), default=0.0)
    if longest < meter.shortest:
        return Caveat.of("energy short", scope=scope, seconds=longest, shortest=meter.shortest)
    reason = meter.absent.get(scope) or meter.lost or "it was not read all through each window"
    return Caveat.of("energy missing", scope=scope, reason=reason)
