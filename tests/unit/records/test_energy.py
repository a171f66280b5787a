"""Joules and watts of a record: which number is taken, how wide its interval is, and why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boards import Board, Clock, job, record

from dlcompare.core.meters.meter import Metered, Quantity
from dlcompare.core.records.energy import (
    ALL,
    Span,
    Spent,
    headline,
    in_use,
    of_accelerators,
    over_rounds,
    spent,
    temperatures,
)
from dlcompare.core.run.energy_doubts import doubts

ONE = (("gpu 0",),)
WINDOWS = [Span(4.0 + 2 * number, 2.0, 100) for number in range(3)]  # of a job from 3 to 11 s


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., tuple[Metered, ...]]:
    """Return what makes the readings of boards that idle, work from 3 to 11 s, and idle until 14."""
    def make(**traits: Any) -> tuple[Metered, ...]:
        clock = Clock()
        board = Board(**{"load": job(3, 11), "clock": clock, **traits})
        return (record(board, clock, tmp_path / "recording.jsonl", seconds=14.0),)

    return make


def kinds(meters: tuple[Metered, ...], devices: Any = ONE, spans: list[Span] = WINDOWS) -> list[str]:
    return [one.kind for one in doubts(meters, devices, spans, spent(meters, devices, spans))]


def test_the_counter_is_the_number_and_the_integral_its_check(measured: Callable[..., tuple[Metered, ...]]) -> None:
    (found,) = spent(measured(), ONE, WINDOWS)
    assert (found.scope, found.method, found.windows, found.devices) == ("gpu 0", "counter", 3, 1)
    assert found.per_sample == pytest.approx(2 * 320 / 100, rel=0.01) and found.watts == pytest.approx(320, rel=0.01)
    assert found.disagreement == pytest.approx(0, abs=0.01) and found.peak_watts == pytest.approx(320, rel=0.01)
    assert (found.watts_before, found.watts_after) == (pytest.approx(70, rel=0.01), pytest.approx(70, rel=0.01))
    assert found.update_s == pytest.approx(0.1, abs=0.01) and found.duty == 0.25


def test_an_interval_is_wider_by_what_windows_may_owe_their_neighbours(
        measured: Callable[..., tuple[Metered, ...]]) -> None:
    (found,) = spent(measured(), ONE, WINDOWS)
    assert found.edge == pytest.approx(0.1 / 6.0, rel=0.1)
    assert found.low == pytest.approx(6.4 * (1 - found.edge), rel=0.01)
    assert found.high == pytest.approx(6.4 * (1 + found.edge), rel=0.01)
    (alone,) = spent(measured(), ONE, WINDOWS[:1])
    assert (alone.low, alone.high, alone.windows) == (None, None, 1), "nothing of one window repeats"


def test_a_counter_that_tells_otherwise_than_power_is_doubted(measured: Callable[..., tuple[Metered, ...]]) -> None:
    meters = measured(bias=0.6)
    (found,) = spent(meters, ONE, WINDOWS)
    assert found.disagreement == pytest.approx(-0.4, abs=0.01) and "energy disagrees" in kinds(meters)
    assert "energy disagrees" not in kinds(measured(bias=0.97))


@pytest.mark.parametrize(("busy", "share"), [((3, 11), 0.0), ((0, 11), 0.97), ((3, 99), 0.97), ((13.5, 99), 0.97)])
def test_what_a_gpu_does_before_or_after_a_job_it_does_for_others(
        busy: tuple[float, float], share: float, measured: Callable[..., tuple[Metered, ...]]) -> None:
    meters = measured(load=job(*busy), count=2)
    assert in_use(meters, (("gpu 1",),)) == {"gpu 1": pytest.approx(share)}
    assert in_use(meters, ()).keys() == {"gpu 0", "gpu 1"} and in_use((), ()) == {}


def test_without_a_power_nobody_waited_for_rest_and_what_a_gpu_did_is_not_known(
        measured: Callable[..., tuple[Metered, ...]]) -> None:
    assert in_use(measured(load=job(0, 99), refused={83, 185, 186, "nvmlDeviceGetPowerUsage"}), ONE) == {}
    assert in_use(measured(load=job(0, 99), refused={"nvmlDeviceGetUtilizationRates"}), ONE) == {}


@pytest.mark.parametrize("traits", [{"stuck": 7.0}, {"reset": 7.0}])
def test_a_counter_that_fails_in_a_window_is_not_used(
        traits: dict[str, float], measured: Callable[..., tuple[Metered, ...]]) -> None:
    meters = measured(**traits)
    (found,) = spent(meters, ONE, WINDOWS)
    assert found.method == "integral" and found.per_sample == pytest.approx(6.4, rel=0.02)
    assert "counter unusable" in kinds(meters)


def test_without_a_counter_power_is_integrated(measured: Callable[..., tuple[Metered, ...]]) -> None:
    (found,) = spent(measured(refused={83}), ONE, WINDOWS)
    assert found.method == "integral" and found.other is None and found.disagreement is None


def test_windows_that_are_too_short_have_no_number_and_a_reason(
        measured: Callable[..., tuple[Metered, ...]]) -> None:
    short = [Span(4.0 + number, 0.3, 100) for number in range(5)]
    meters = measured()
    assert spent(meters, ONE, short) == () and "energy short" in kinds(meters, spans=short)
    assert len(spent(meters, ONE, [*short, WINDOWS[0]])) == 1, "the long one has"


def test_windows_that_nobody_dated_have_no_number(measured: Callable[..., tuple[Metered, ...]]) -> None:
    undated = [dataclasses.replace(one, begin=None) for one in WINDOWS]
    assert spent(measured(), ONE, undated) == () and kinds(measured(), spans=undated)[0] == "energy missing"


def test_only_a_job_s_own_devices_are_counted(measured: Callable[..., tuple[Metered, ...]]) -> None:
    meters = measured(count=3)
    assert [one.scope for one in spent(meters, (("gpu 1",),), WINDOWS)] == ["gpu 1"]
    assert spent(meters, (), WINDOWS) == ()


def test_several_devices_are_summed_if_all_are_there(measured: Callable[..., tuple[Metered, ...]]) -> None:
    two = (("gpu 0",), ("gpu 1",))
    found = spent(measured(count=2), two, WINDOWS)
    assert [one.scope for one in found] == ["gpu 0", "gpu 1", ALL]
    whole = of_accelerators(found)
    assert whole and whole.per_sample == pytest.approx(12.8, rel=0.01) and whole.devices == 2
    assert whole.watts_before == pytest.approx(140, rel=0.01)


def test_there_is_no_partial_total(measured: Callable[..., tuple[Metered, ...]]) -> None:
    two = (("gpu 0",), ("gpu 1",))
    lost = measured(count=2, lost={1: 7.0})
    assert [one.scope for one in spent(lost, two, WINDOWS)] == ["gpu 0"]
    reason = next(one for one in doubts(lost, two, WINDOWS, ()) if one.values.get("scope") == "gpu 1")
    assert reason.kind == "energy missing" and "GPU is lost" in reason.values["reason"]
    gone = measured(count=2, lost={1: 0.0})
    assert [one.scope for one in spent(gone, two, WINDOWS)] == ["gpu 0"]


def test_joules_read_around_windows_are_told_as_well() -> None:
    package = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))
    spans = [Span(None, 2.0, 10, {"cpu package-0": joules}) for joules in (100.0, 104.0, 102.0)]
    (found,) = spent((package,), (), spans)
    assert (found.per_sample, found.watts, found.devices, found.edge) == (10.2, 51.0, 0, 0.0)
    assert of_accelerators([found]) is None
    assert spent((package,), (), [*spans, Span(None, 2.0, 10)]) == (), "one window was not read"
    assert len(spent((package,), (), [*spans, Span(None, 0.1, 10)])) == 1, "nor need it: it is too short"


def test_joules_that_windows_do_not_give_have_a_reason() -> None:
    package = Metered("rapl", "window", shortest=0.5, quantities=(Quantity("cpu package-0", "energy", "J"),))
    whole = [Span(None, 2.0, 10, {"cpu package-0": 100.0}) for _ in range(2)]
    assert kinds((package,), (), whole) == []
    assert kinds((package,), (), [dataclasses.replace(one, seconds=0.3) for one in whole]) == ["energy short"]
    assert kinds((package,), (), [*whole, Span(None, 2.0, 10)]) == ["energy missing"], "the counter stood still in one"
    lost = dataclasses.replace(package, lost="OSError: gone")
    assert kinds((lost,), (), [Span(None, 2.0, 10)]) == ["meter lost"]


def test_a_job_without_windows_has_no_joules_to_miss(measured: Callable[..., tuple[Metered, ...]]) -> None:
    assert "energy short" not in kinds(measured(), spans=[])


def test_records_from_before_there_were_meters_have_no_energy() -> None:
    assert spent((), (), [Span(None, 2.0, 10, {"cpu package-0": 3.0})]) == ()


def test_clocks_that_were_held_back_are_told_of(measured: Callable[..., tuple[Metered, ...]]) -> None:
    meters = measured()
    (caveat,) = [one for one in doubts(meters, ONE, WINDOWS, ()) if one.kind == "clocks held back"]
    assert caveat.values["shares"] == {"the power limit": pytest.approx(1.0, abs=0.1)}
    assert "clocks held back" not in kinds(measured(load=job(3, 11, busy=200.0)))


def test_one_number_stands_for_a_job() -> None:
    packages = [Spent(f"cpu package-{n}", 2.0, 1.9, 2.1, "counter", 50.0, 5) for n in range(2)]
    memory = Spent("cpu dram-0", 1.0, None, None, "counter", 5.0, 5)
    both = headline([*packages, memory])
    assert both and (both.per_sample, both.watts, both.low) == (4.0, 100.0, None)
    assert headline([packages[0], memory]) == packages[0] and headline([memory]) is None and headline([]) is None
    gpu = Spent("gpu 0", 3.0, None, None, "counter", 300.0, 5, devices=1)
    assert headline([*packages, gpu]) == gpu


def test_one_number_that_is_of_a_part_stands_for_nothing(measured: Callable[..., tuple[Metered, ...]]) -> None:
    two = (("gpu 0",), ("gpu 1",))
    found = spent(measured(count=2, lost={1: 7.0}), two, WINDOWS)
    assert [one.scope for one in found] == ["gpu 0"] and headline(found, devices=two) is None
    package = Spent("cpu package-0", 2.0, 1.9, 2.1, "counter", 50.0, 5)
    both = Metered("rapl", "window", quantities=(Quantity("cpu package-0", "energy", "J"),),
                   absent={"cpu package-1": "nobody may read it"})
    assert headline([package]) == package and headline([package], (both,)) is None
    assert headline([package], device="cuda") is None, "a GPU's job has taken more than its processor"
    each = [dataclasses.replace(package, scope=f"gpu {number}", devices=1) for number in range(2)]
    assert headline(each) is None and of_accelerators(each) is None, "neither is the whole"


def test_rounds_are_told_together() -> None:
    rounds = [[Spent("gpu 0", joules, None, None, "counter", 100 * joules, 5, peak_watts=300 + joules)]
              for joules in (2.0, 3.0, 4.0)]
    (found,) = over_rounds(rounds)
    assert (found.per_sample, found.watts, found.peak_watts, found.windows) == (3.0, 300.0, 304.0, 15)
    assert found.low is not None and 2.0 <= found.low <= 3.0
    assert over_rounds([*rounds, []]) == () and over_rounds([]) == ()


def test_temperatures_are_those_that_a_job_began_with(measured: Callable[..., tuple[Metered, ...]]) -> None:
    assert temperatures(measured(), ONE) == {"gpu 0": 34.0} and temperatures(measured(), ()) == {}
