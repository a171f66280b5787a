"""Meters around windows: who reads which, what a sum needs, and that a broken meter costs its numbers and no more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dlcompare.core.meters.meter import Absent, Meter, Opened, Quantity, difference
from dlcompare.core.worker.metering import Metering
from dlcompare.core.worker.windows import watch

PACKAGE, BYTES = Quantity("cpu package-0", "energy", "J"), Quantity("workers", "read", "B", own=True)


class Recorded(Opened):
    """Gives one recorded reading after the other; an exception among them is raised."""

    def __init__(self, readings: list[Sequence[float | None] | Exception], *quantities: Quantity) -> None:
        self.readings, self.quantities = iter(readings), quantities

    def read(self) -> Sequence[float | None]:
        found = next(self.readings)
        if isinstance(found, Exception):
            raise found
        return found


class Known(Meter):
    """A meter that opens as it is told."""

    name = "known"

    def __init__(self, found: Opened | Exception) -> None:
        self.found = found

    def open(self, device: str) -> Opened:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def metering(*readings: Sequence[float | None] | Exception, rank: int = 0) -> Metering:
    return Metering([Known(Recorded(list(readings), PACKAGE, BYTES))], "cpu", rank=rank)


def test_joules_are_by_scope_and_everything_else_by_key() -> None:
    _, around = watch(lambda: None, meters=metering((1.0, 10), (4.5, 30)))
    assert (around.joules, around.counted) == ({"cpu package-0": 3.5}, {"workers read": 20})


def test_ranks_but_the_first_read_what_is_of_their_own_process() -> None:
    _, around = watch(lambda: None, meters=metering((1.0, 10), (4.5, 30), rank=1))
    assert (around.joules, around.counted) == ({}, {"workers read": 20})
    alone = Metering([Known(Recorded([], PACKAGE))], "cpu", rank=1)
    assert alone.read() == {}, "asked for what rank 0 reads"


def test_a_meter_that_raises_is_read_no_more_and_told_of() -> None:
    meters = metering((1.0, 10), OSError("the bus is gone"))
    _, around = watch(lambda: None, meters=meters)
    assert around.joules == {}
    assert meters.metered()[0].lost == "OSError: the bus is gone"
    assert watch(lambda: "taken", meters=meters)[0] == "taken"


def test_a_meter_that_gives_too_few_values_is_broken() -> None:
    meters = metering((1.0,))
    assert meters.read() == {} and "1 values for 2 quantities" in str(meters.metered()[0].lost)


@pytest.mark.parametrize(("error", "reason"), [
    (Absent("root alone may"), "root alone may"), (ValueError("no such\nfile"), "ValueError: no such file")])
def test_what_is_absent_has_its_reason(error: Exception, reason: str) -> None:
    meters = Metering([Known(error)], "cpu")
    assert [(one.name, one.reason) for one in meters.metered()] == [("known", reason)]
    assert watch(lambda: None, meters=meters)[1].joules == {}


@pytest.mark.parametrize(("wraps", "before", "after", "grown"), [
    (None, 3.0, 5.0, 2.0), (None, 5.0, 3.0, None), (10.0, 9.0, 2.0, 3.0), (10.0, None, 2.0, None),
    (None, 1.0, None, None), (None, 4.0, 4.0, 0.0)])
def test_what_a_counter_grew_by(wraps: float | None, before: float | None, after: float | None,
                                grown: float | None) -> None:
    assert difference(Quantity("cpu", "energy", "J", wraps=wraps), before, after) == grown


class Disturbing(Known):
    """A meter that costs speed while it counts."""

    disturbs = True


class Counting(Recorded):
    """Notes when it is told to count."""

    def __init__(self, *readings: Sequence[float | None] | Exception) -> None:
        super().__init__(list(readings), BYTES)
        self.told: list[str] = []

    def begin(self) -> None:
        self.told.append("begin")

    def end(self) -> None:
        self.told.append("end")


def test_a_meter_that_disturbs_counts_in_a_window_of_its_own_alone() -> None:
    counting = Counting((1,), (5,))
    meters = Metering([Disturbing(counting), named("calm", Recorded([(1.0,), (2.0,), (4.0,), (7.0,)], PACKAGE))],
                      "cpu")
    assert meters.disturbing
    _, calm = watch(lambda: counting.told.append("a window"), meters=meters)
    assert (calm.joules, calm.counted, counting.told) == ({"cpu package-0": 1.0}, {}, ["a window"])
    _, apart = meters.apart(lambda: watch(lambda: counting.told.append("its own"), meters=meters))
    assert (apart.joules, apart.counted) == ({"cpu package-0": 3.0}, {"workers read": 4})
    assert counting.told == ["a window", "begin", "its own", "end"]
    assert [(one.name, one.apart) for one in meters.metered()] == [("known", True), ("calm", False)]


def named(name: str, found: Opened) -> Known:
    meter = Known(found)
    meter.name = name  # type: ignore[misc]
    return meter


def test_a_meter_that_cannot_begin_is_lost_and_the_window_is_taken() -> None:
    class Broken(Counting):
        def begin(self) -> None:
            raise OSError("no such counter any more")

    meters = Metering([Disturbing(Broken())], "cpu")
    assert meters.apart(lambda: "taken") == "taken" and not meters.disturbing
    assert meters.metered()[0].lost == "OSError: no such counter any more"


def test_without_such_a_meter_no_window_is_taken_apart() -> None:
    assert not Metering([Disturbing(Absent("not here"))], "cpu").disturbing
