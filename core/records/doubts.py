"""What may make a record's numbers unstable, as caveats; a function each, None where there is nothing to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from .caveat import Caveat
from .record import Window
from .stats import iqr, median

SPREAD = 0.05  # interquartile range over median
DRIFT = 0.05  # last third of the windows against the first
TREND = 0.02  # a strictly monotone series that moves less is not worth a word
STALL = 0.05  # share of a window spent waiting for input
LEAST_WINDOWS = 5
LEAST_SECONDS = 5.0
NAMED = 5  # samples in a caveat, which counts the rest; the job names all


def of_windows(windows: Sequence[Window]) -> tuple[Caveat, ...]:
    """Return what there is to say of windows that count."""
    rates, seconds = [window.rate for window in windows], [max(window.seconds) for window in windows]
    waited = [window.feed_seconds or 0.0 for window in windows]
    found = (short(seconds), spread(rates), drift(rates), stall(seconds, waited))
    return tuple(caveat for caveat in found if caveat)


def spread(rates: Sequence[float]) -> Caveat | None:
    """Return a caveat when the windows' throughputs scatter."""
    share = iqr(rates) / median(rates)
    return Caveat.of("spread", share=share, bound=SPREAD) if share > SPREAD else None


def drift(rates: Sequence[float]) -> Caveat | None:
    """Return a caveat when throughput moves in one direction while it is measured."""
    third = len(rates) // 3
    if third >= 2:
        change = median(rates[-third:]) / median(rates[:third]) - 1
        if abs(change) > DRIFT:
            return Caveat.of("drift", windows=third, change=change, bound=DRIFT)
    change = rates[-1] / rates[0] - 1
    steady = len({later > earlier for earlier, later in pairwise(rates)}) == 1 and len(set(rates)) == len(rates)
    if len(rates) >= LEAST_WINDOWS and steady and abs(change) > TREND:
        return Caveat.of("trend", windows=len(rates), change=change)
    return None


def short(seconds: Sequence[float]) -> Caveat | None:
    """Return a caveat when too little was measured; ``seconds`` is the length of each window."""
    count, total = len(seconds), sum(seconds)
    if count >= LEAST_WINDOWS and total >= LEAST_SECONDS:
        return None
    return Caveat.of("short", windows=count, seconds=total, least_windows=LEAST_WINDOWS, least_seconds=LEAST_SECONDS)


def stall(seconds: Sequence[float], waited: Sequence[float]) -> Caveat | None:
    """Return a caveat when training waited for input; both are seconds, one value a window."""
    shares = [wait / length for wait, length in zip(waited, seconds, strict=True)]
    stalled = [share for share in shares if share > STALL]
    if not stalled:
        return None
    return Caveat.of("stall", stalled=len(stalled), windows=len(shares), bound=STALL, worst=max(stalled))


def warm_up(steps: Sequence[float], *, settled: bool) -> Caveat | None:
    """Return a caveat when measuring began before step time had settled; ``steps`` are warm-up seconds per step."""
    return None if settled else Caveat.of("warm-up", steps=len(steps), last=list(steps[-3:]))


def of_samples(skipped: Sequence[str], passed_over: Mapping[str, int]) -> tuple[Caveat, ...]:
    """Return what there is to say of samples that were left out, and of other files among them by suffix."""
    return (*([Caveat.of("skipped samples", count=len(skipped), first=list(skipped[:NAMED]))] if skipped else ()),
            *([Caveat.of("passed over", files=dict(passed_over))] if passed_over else ()))
