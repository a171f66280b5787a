"""Readings over time: kept without loss of what is asked of them, cut to windows, and what they tell of their meter."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcompare.core.meters import series
from dlcompare.core.meters.meter import Series


def made(values: list[float | None], *, every: float = 0.05, begin: float = 100.0) -> Series:
    found = series.compact("gpu 0 power", [(begin + every * number, value) for number, value in enumerate(values)])
    assert found is not None
    return found


def test_only_changes_are_kept_and_what_was_missed_is_counted() -> None:
    found = made([70.0, 70.0, None, 70.0, 300.0, 300.0])
    assert (found.times, found.readings, found.missed) == ((0, 100, 150, 200), 6, 1)
    assert found.values == pytest.approx((70.0, math.nan, 70.0, 300.0), nan_ok=True)
    assert series.compact("x", [(1.0, None), (2.0, None)]) is None and series.compact("x", []) is None


def test_power_is_integrated_over_a_window_alone() -> None:
    found = made([100.0] * 20 + [300.0] * 20)
    assert series.integral(found, 100.5, 101.5) == pytest.approx(50 + 150)
    assert series.mean(found, 101.1, 101.6) == pytest.approx(300)
    assert series.largest(found, 100.0, 100.9) == 100


def test_what_was_not_read_all_through_has_no_number() -> None:
    found = made([100.0] * 20)
    assert series.integral(found, 99.0, 100.5) is None and series.integral(found, 100.5, 101.0) is None
    assert series.grown(found, 100.5, 101.5) is None and series.largest(found, 99.9, 100.1) is None


@given(st.lists(st.floats(0, 1000, allow_nan=False), min_size=4, max_size=60), st.data())
def test_a_window_and_its_parts_have_the_same_joules(values: list[float], data: st.DataObject) -> None:
    found = made([*values])
    begin, end = 100.0, 100.0 + 0.05 * (len(values) - 1)
    middle = data.draw(st.floats(begin, end))
    whole, first, last = (series.integral(found, *span) for span in ((begin, end), (begin, middle), (middle, end)))
    assert whole is not None and first is not None and last is not None
    assert math.isclose(whole, first + last, abs_tol=1e-6)


def test_a_window_in_which_the_meter_was_gone_has_no_number() -> None:
    found = made([100.0] * 10 + [None] * 10)
    assert series.integral(found, 100.0, 100.4) == pytest.approx(40)
    assert series.integral(found, 100.0, 100.6) is None and series.integral(found, 100.7, 100.8) is None


def test_a_counter_is_taken_between_its_steps_in_proportion() -> None:
    found = made([10.0, 10.0, 40.0, 40.0, 70.0, 70.0, 100.0])  # 30 J every 0.1 s
    assert series.grown(found, 100.05, 100.2) == pytest.approx(45.0)


def test_a_counter_that_went_backwards_has_no_number() -> None:
    found = made([10.0, 40.0, 70.0, 5.0, 35.0, 65.0])
    assert series.grown(found, 100.0, 100.25) is None
    assert series.grown(found, 100.16, 100.24) is not None, "after that it counts on"
    assert series.grown(found, 100.12, 100.14) is None, "within the step in which it fell"


def test_a_counter_that_stands_still_is_seen() -> None:
    found = made([10.0] * 5 + [20.0] + [30.0] * 5)
    assert not series.stands_still(found, 100.1, 100.3) and series.stands_still(found, 100.31, 100.5)


@pytest.mark.parametrize(("repeats", "period"), [(2, 0.1), (1, 0.05), (20, 1.0)])
def test_the_update_period_is_told_by_the_changes(repeats: int, period: float) -> None:
    found = made([float(number) for number in range(12) for _ in range(repeats)])
    assert series.update_period(found) == pytest.approx(period)
    assert series.update_period(made([1.0, 2.0, 3.0])) is None


def boxcar(load: list[float], samples: int) -> list[float | None]:
    """Return the mean of the last samples of a load, each time."""
    return [sum(load[max(0, now - samples + 1):now + 1]) / min(samples, now + 1) for now in range(len(load))]


@pytest.mark.parametrize(("window", "at_most"), [(20, 1.0), (1, 0.05)])
def test_over_how_long_power_is_averaged_shows_in_its_steps(window: int, at_most: float) -> None:
    load = [70.0] * 40 + [500.0] * 60 + [70.0] * 40
    assert series.averaging(made(boxcar(load, window))) == pytest.approx(at_most, abs=0.1)


def test_a_load_without_a_step_tells_nothing_of_averaging() -> None:
    assert series.averaging(made([70.0, 71.0, 72.0, 70.5])) is None
    slow: list[float | None] = [70.0 + number for number in range(100)]
    assert series.averaging(made(slow)) == pytest.approx(5.0, abs=0.2), "an upper bound: work that began slowly"


def test_a_counter_that_is_lost_just_after_a_span_stands_as_it_was_read() -> None:
    found = made([10.0, 20.0, 30.0, None, None])
    assert series.grown(found, 100.0, 100.12) == pytest.approx(20)


@given(st.lists(st.one_of(st.none(), st.integers(0, 3).map(float)), min_size=1, max_size=30),
       st.floats(99.9, 101.6), st.floats(0, 1.6))
def test_a_span_is_told_by_what_is_near_it(values: list[float | None], begin: float, length: float) -> None:
    if all(value is None for value in values):
        return
    found, end, all_points = made(values), begin + length, series.points
    asked = (series.covers, series.integral, series.largest, series.grown, series.fell, series.stands_still)
    near = [repr(ask(found, begin, end)) for ask in asked]  # NaN is not NaN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "points", lambda one, *span: all_points(one))
        assert near == [repr(ask(found, begin, end)) for ask in asked]


def test_a_span_of_a_training_of_hours_looks_at_its_own_values() -> None:
    """There are as many spans as there are hours, and each went through all values: minutes for a night's training."""
    found = made([float(number) for number in range(10_000)])
    assert len(series.points(found, 200.0, 201.0)) <= 24 and len(series.points(found)) == 10_000
