"""Readings over time: kept compactly, cut to windows, and what they tell of their meter: how often it brings news.

Times are seconds of the machine's monotonic clock. A value stands until the next one; NaN is that of a reading that
brought none.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from .meter import Series

FEWEST_CHANGES = 5  # from which an update period is told
RISE = 5.0  # watts that a step must have, at least, to show over how long power is averaged
BOXCAR = 0.8  # of its length is what an average over one takes from 10 to 90 % of a step


def compact(key: str, readings: Iterable[tuple[float, float | None]]) -> Series | None:
    """Return readings, (time, value or None) in order, as a series; None if no reading brought a value."""
    begin = end = 0.0
    count = missed = 0
    times, values = list[int](), list[float]()
    for now, value in readings:
        begin, end, count = (now if not count else begin), now, count + 1
        missed += value is None
        value = math.nan if value is None else value
        if not values or not (value == values[-1] or (math.isnan(value) and math.isnan(values[-1]))):
            times.append(round(1000 * (now - begin)))
            values.append(value)
    return Series(key, begin, end, count, missed, tuple(times), tuple(values)) if missed < count else None


def points(series: Series, begin: float = -math.inf, end: float = math.inf) -> list[tuple[float, float]]:
    """Return when the values of a series began to stand, and which they are; of a span, those that stand in it and at
    least one before and after it, if there are any: a training of hours has many spans, and many values.
    """
    first, last = (bisect.bisect(series.times, 1000 * (time - series.begin)) for time in (begin, end))
    first, last = max(0, first - 2), last + 2  # for times here and there may be rounded otherwise
    return [(series.begin + time / 1000, value) for time, value in
            zip(series.times[first:last], series.values[first:last], strict=True)]


def covers(series: Series, begin: float, end: float) -> bool:
    """Return whether a series was read all through a span of time."""
    if not series.begin <= begin <= end <= series.end:
        return False
    return not any(math.isnan(value) for value, _ in standing(series, begin, end))


def standing(series: Series, begin: float, end: float) -> Iterator[tuple[float, float]]:
    """Yield the values that stand within a span, each with for how many seconds of it."""
    found = points(series, begin, end)
    first = max(0, bisect.bisect_right([time for time, _ in found], begin) - 1)
    for number in range(first, len(found)):
        time, value = found[number]
        if time >= end:
            return
        until = found[number + 1][0] if number + 1 < len(found) else end
        seconds = min(until, end) - max(time, begin)
        if seconds > 0:
            yield value, seconds


def integral(series: Series, begin: float, end: float) -> float | None:
    """Return the integral of a gauge over a span, joules of watts; None if it was not read all through it."""
    if not covers(series, begin, end):
        return None
    return sum(value * seconds for value, seconds in standing(series, begin, end))


def largest(series: Series, begin: float, end: float) -> float | None:
    """Return the largest value that a gauge had within a span; None if it was not read all through it."""
    if not covers(series, begin, end):
        return None
    return max((value for value, _ in standing(series, begin, end)), default=None)


def mean(series: Series, begin: float, end: float) -> float | None:
    """Return the mean of a gauge over a span; None if it was not read all through it, or the span is empty."""
    found = integral(series, begin, end) if end > begin else None
    return None if found is None else found / (end - begin)


def grown(series: Series, begin: float, end: float) -> float | None:
    """Return by how much a counter grew within a span, between two of its steps in proportion.

    None if it was not read all through the span, or went backwards in it: what it had counted before is lost.
    """
    if not covers(series, begin, end) or fell(series, begin, end):
        return None
    return value_at(series, end) - value_at(series, begin)


def fell(series: Series, begin: float, end: float) -> bool:
    """Return whether a counter went backwards in a span, the steps that reach into it included."""
    steps = pairwise(points(series, begin, end))
    return any(value < before for (since, before), (time, value) in steps if since < end and time > begin)


def value_at(series: Series, time: float) -> float:
    """Return a counter's value at a time, between two steps in proportion; after the last one that was read, as it
    stands."""
    found = points(series, time, time)
    number = bisect.bisect_right([at for at, _ in found], time)
    if number == 0:
        return found[0][1]
    if number == len(found):
        return found[-1][1]
    (before, low), (after, high) = found[number - 1], found[number]
    if math.isnan(high):
        return low
    return low + (high - low) * (time - before) / (after - before)


def stands_still(series: Series, begin: float, end: float) -> bool:
    """Return whether a counter did not move all through a span in which it was read."""
    found = points(series, begin, end)
    return covers(series, begin, end) and not any(begin < time <= end for time, _ in found[1:])


def update_period(series: Series) -> float | None:
    """Return every how many seconds a quantity brings news: the median between changes; None of too few changes.

    Nothing shorter than the time between readings can be seen, so that is the least it may be.
    """
    gaps = sorted((later - earlier) / 1000 for earlier, later in pairwise(series.times))
    return gaps[len(gaps) // 2] if len(gaps) >= FEWEST_CHANGES else None


def averaging(series: Series) -> float | None:
    """Return over how many seconds a power is averaged, at most; None where it made no step that would tell.

    An average over the last W seconds takes 0.8 W from 10 to 90 % of a step, and no step is steeper. The steepest of
    those that go through at least half of the whole range is taken, up or down: work that begins slowly shows less.
    """
    found = [(time, value) for time, value in points(series) if not math.isnan(value)]
    if len(found) < 2:
        return None
    low, high = min(value for _, value in found), max(value for _, value in found)
    if high - low < RISE:
        return None
    marks = low + 0.1 * (high - low), low + 0.9 * (high - low)
    seconds = [*crossings(found, *marks), *crossings([(time, -value) for time, value in found], -marks[1], -marks[0])]
    return min(seconds) / BOXCAR if seconds else None


def crossings(found: Sequence[tuple[float, float]], low: float, high: float) -> Iterator[float]:
    """Yield how long each way up from below ``low`` to above ``high`` took, which is 0 for a jump."""
    left: float | None = None
    for (_, before), (time, value) in pairwise(found):
        if before <= low < value:
            left = time
        if left is not None and value >= high:
            yield time - left
            left = None
        if value <= low:
            left = None
