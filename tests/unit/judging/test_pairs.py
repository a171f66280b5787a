"""Ratios of windows that alternated: a drift cancels, what is disturbed is left out, and coverage is kept."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics

import pytest
from fabricated import finished, job, ranks

from dlcompare.core.judging.outlook import outlooks
from dlcompare.core.judging.pairs import log_ratio, log_ratios
from dlcompare.core.judging.verdict import compare
from dlcompare.core.records import stats
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.record import Record

ONE, TWO = job("pytorch-ddp"), job("tf-horovod")


def record(of: object, seconds: list[float], *, number: int = 0, turns: str | None = "t") -> Record:
    made = finished(of, ranks(of, seconds, slower=0.0))  # type: ignore[arg-type]
    return dataclasses.replace(made, round=number, rounds=6, turns=turns and f"{turns}{number}")


def test_what_the_machine_does_to_neighbours_is_in_no_ratio() -> None:
    drift = [2.0, 2.4, 3.0, 2.2, 4.0]
    one, two = record(ONE, drift), record(TWO, [seconds * 1.1 for seconds in drift[::-1]][::-1])
    assert log_ratio(one, two) == pytest.approx(math.log(1.1))
    shuffled = record(TWO, [2.2 * 1.1, 2.4 * 1.1, 2.0 * 1.1, 4.0 * 1.1, 3.0 * 1.1], turns="other")
    assert log_ratio(one, shuffled) == pytest.approx(math.log(1.1)), "whole records where they did not alternate"


def test_a_pair_counts_if_both_of_its_windows_do() -> None:
    one, two = record(ONE, [2.0, 2.0, 2.0]), record(TWO, [2.2, 8.0, 2.2])
    spoilt = dataclasses.replace(two.windows[1], discarded=Caveat.of("foreign", cores=1.0))
    left = dataclasses.replace(two, windows=(two.windows[0], spoilt, two.windows[2]))
    assert log_ratio(one, left) == pytest.approx(math.log(1.1))
    none = dataclasses.replace(two, windows=tuple(dataclasses.replace(spoilt) for _ in two.windows))
    assert log_ratio(one, none) == pytest.approx(math.log(1.1)), "none is left: whole records"


def test_old_records_are_judged_as_ever() -> None:
    found = [record(of, [base * factor] * 5, number=number, turns=None)
             for number, base in enumerate((2.0, 2.5, 3.0)) for of, factor in ((ONE, 1.0), (TWO, 1.2))]
    (verdict,) = compare(found)[0].verdicts
    assert verdict.ratio == pytest.approx(1 / 1.2) and verdict.word == "slower"


def drifting(draw: random.Random, rounds: int, *, alternate: bool) -> list[tuple[Record, Record]]:
    """Return rounds of two sides that are alike, on a machine whose speed walks at random; processes differ by 2 %."""
    speed, found = 0.0, []
    for number in range(rounds):
        own = [draw.gauss(0, 0.02), draw.gauss(0, 0.02)]
        order = [0, 1, 1, 0, 0, 1, 1, 0, 0, 1] if alternate else [0] * 5 + [1] * 5
        seconds: list[list[float]] = [[], []]
        for side in order if number % 2 else [1 - side for side in order]:
            speed += draw.gauss(0, 0.05)
            spike = draw.expovariate(3) if draw.random() < 0.05 else 0.0
            seconds[side].append(2 * math.exp(speed + own[side] + draw.gauss(0, 0.02) + spike))
        found.append((window_record(ONE, seconds[0], number), window_record(TWO, seconds[1], number)))
    return found


BASE = {of.framework: record(of, [2.0] * 5) for of in (ONE, TWO)}


def window_record(of: object, seconds: list[float], number: int) -> Record:
    """Return a record of windows that took so long; quicker than folding ranks."""
    base = BASE[of.framework]  # type: ignore[attr-defined]
    windows = tuple(dataclasses.replace(window, seconds=(one, one))
                    for window, one in zip(base.windows, seconds, strict=True))
    return dataclasses.replace(base, round=number, turns=f"t{number}", windows=windows)


def test_under_drift_the_interval_covers_as_it_says_and_is_narrower_than_of_whole_rounds() -> None:
    draw, covered, widths, whole = random.Random(5), 0, [], []
    for _ in range(400):
        pairs = drifting(draw, 6, alternate=True)
        logs = [log_ratio(one, two) for one, two in pairs]
        half = stats.student_half_width(6) * statistics.stdev(logs)
        covered += abs(statistics.fmean(logs)) <= half
        widths.append(half)
        apart = [stats.median([window.rate for window in one.windows]) / stats.median([w.rate for w in two.windows])
                 for one, two in drifting(draw, 6, alternate=False)]
        whole.append(stats.student_half_width(6) * statistics.stdev(map(math.log, apart)))
    assert 0.93 <= covered / 400 <= 0.975
    assert statistics.median(widths) < 0.5 * statistics.median(whole)


def rounds_of(factors: list[float]) -> list[Record]:
    return [one for number, factor in enumerate(factors)
            for one in (record(ONE, [2.0] * 5, number=number), record(TWO, [2.0 * factor] * 5, number=number))]


def test_the_outlook_is_how_many_rounds_such_scatter_needs() -> None:
    found = rounds_of([1.02, 1.10, 0.99])
    (far,) = outlooks(compare(found))
    assert far.verdict.word == "undecided" and far.more is not None
    logs = log_ratios({r.round or 0: r for r in found if r.framework == TWO.framework},
                      {r.round or 0: r for r in found if r.framework == ONE.framework})
    middle, spread, needed = statistics.fmean(logs), statistics.stdev(logs), 3 + far.more
    assert abs(middle) > stats.student_half_width(needed) * spread
    assert abs(middle) < stats.student_half_width(needed - 1) * spread, "one fewer would not do"
    (done,) = outlooks(compare(rounds_of([1.2, 1.21, 1.19])))
    assert done.more == 0 and done.verdict.word == "slower"
    (never,) = outlooks(compare(rounds_of([1.5, 1 / 1.5, 1.0001, 0.9999])))
    assert never.more is None
    assert outlooks(compare(rounds_of([1.1]))) == [], "one round tells nothing"
