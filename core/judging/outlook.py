"""How far rounds that go on are from a decision: each ratio so far, and about how many more rounds it needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from dlcompare.core.records import stats
from dlcompare.core.records.record import Json

from .pairs import log_ratios
from .verdict import Comparison, Verdict, word

FURTHEST = 100  # rounds in all: nobody waits for more


@dataclass(frozen=True)
class Outlook:
    """One ratio after some rounds, at a ``point`` if there is a sweep. ``more`` is how many further rounds would decide
    it if they were as those before: 0 if it is decided, None if more than anybody waits for. An estimate: few rounds
    tell their own scatter badly.
    """

    verdict: Verdict
    more: int | None
    point: Json = field(default_factory=dict)


def outlooks(comparisons: Sequence[Comparison]) -> list[Outlook]:
    """Return how far each ratio is that rests on two rounds or more."""
    return [Outlook(verdict, more_rounds(one, verdict), one.point) for one in comparisons for verdict in one.verdicts
            if verdict.word is not None]


def more_rounds(one: Comparison, verdict: Verdict) -> int | None:
    """Return how many more rounds would decide a ratio whose centre and scatter stay as they are."""
    if verdict.word != "undecided":
        return 0
    side, base = one.side(verdict.run, verdict.name), one.side(verdict.baseline_run, verdict.baseline)
    logs = log_ratios(side.by_round, base.by_round)
    middle, spread = statistics.fmean(logs), statistics.stdev(logs)
    width = stats.anytime_half_width if side.open_ended else stats.student_half_width
    for rounds in range(len(logs) + 1, FURTHEST + 1):
        half = width(rounds) * spread
        if math.isfinite(half) and word(middle - half, middle + half, one.margin) != "undecided":
            return rounds - len(logs)
    return None
