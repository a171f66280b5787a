"""The ratio of two records of one round: window by window where these alternated, of whole records otherwise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from dlcompare.core.records.record import Record

Rounds = Mapping[int, Record]


def log_ratios(one: Rounds, two: Rounds) -> list[float]:
    """Return the logarithm of the ratio of two sides' throughputs for each round that both have, in order."""
    return [log_ratio(one[number], two[number]) for number in sorted(one.keys() & two.keys())]


def log_ratio(one: Record, two: Record) -> float:
    """Return the logarithm of the ratio of two records' throughputs.

    If their windows alternated it is the median over pairs of neighbours, which a machine that drifts treats alike; a
    pair counts if both of its windows do.
    """
    found = pairs(one, two)
    return statistics.median(found) if found else math.log(rate(one) / rate(two))


def pairs(one: Record, two: Record) -> list[float]:
    """Return the logarithm of the ratio of each pair of neighbouring windows that count; none if they did not
    alternate."""
    if one.turns is None or one.turns != two.turns:
        return []
    return [math.log(mine.rate / theirs.rate) for mine, theirs in zip(one.windows, two.windows, strict=False)
            if not mine.discarded and not theirs.discarded]


def rate(record: Record) -> float:
    """Return the throughput of a record that has one."""
    return record.throughput.value if record.throughput else math.nan
