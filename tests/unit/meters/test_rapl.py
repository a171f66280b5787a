"""Energy of processors: which scopes there are, why one is not, and sums over counters that begin anew."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from running import eventually

from dlcompare.core.meters import rapl
from dlcompare.core.meters.host.recording import Replay
from dlcompare.core.meters.meter import Absent, Opened, difference
from dlcompare.core.meters.rapl import Rapl, Tallies, Zone
from dlcompare.core.worker.metering import Metering

from .recorded import POWER, RANGE, UNIT, count, replay, write, zone

SERVER = [("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"),
          ("intel-rapl:1", "package-1"), ("intel-rapl:1:0", "dram"), ("intel-rapl:1:1", "uncore"),
          ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")]
EVENTS = {f"{POWER}/type": 22, f"{POWER}/cpumask": "0,18", f"{POWER}/events/energy-pkg": "event=0x02",
          f"{POWER}/events/energy-pkg.scale": UNIT, f"{POWER}/events/energy-ram": "event=0x03",
          f"{POWER}/events/energy-ram.scale": UNIT, f"{POWER}/events/energy-psys": "event=0x05",
          f"{POWER}/events/energy-psys.scale": UNIT, "proc/sys/kernel/perf_event_paranoid": 2}
TOPOLOGY = {f"sys/devices/system/cpu/cpu{core}/topology/physical_package_id": package
            for core, package in ((0, 0), (18, 1))}


def server(microjoules: int) -> dict[str, object]:
    """Return the zones of a machine of two sockets, each of which has counted so much."""
    return {name: text for number, one in enumerate(SERVER)
            for name, text in zone(*one, microjoules + 1000 * number).items()}


@contextmanager
def opened(found: Replay) -> Iterator[Opened]:
    meter = Rapl(found.root, found, clock=found.clock, pause=found.pause).open("cpu")
    yield meter
    meter.close()


def joules(meter: Opened) -> dict[str, float | None]:
    return {one.key: value for one, value in zip(meter.quantities, meter.read(), strict=True)}


def test_memory_is_a_scope_of_its_own_and_the_platform_is_in_no_sum(tmp_path: Path) -> None:
    found = replay(tmp_path, [server(0), server(1_000_000), server(4_000_000)])
    with opened(found) as meter:
        assert {one.scope for one in meter.quantities if one.name == "energy"} == {
            "cpu package-0", "dram package-0", "cpu package-1", "dram package-1"}
        before = joules(meter)
        found.pause(1)
        assert {name: value - (before[name] or 0) for name, value in joules(meter).items() if value is not None} == {
            f"{scope} energy": pytest.approx(3.0) for scope in (
                "cpu package-0", "cpu package-1", "dram package-0", "dram package-1", "psys platform")}
        assert meter.about == {"source": "powercap"} and not meter.absent


def test_a_zone_that_only_the_other_interface_shows_is_read(tmp_path: Path) -> None:
    with opened(replay(tmp_path, [zone("intel-rapl-mmio:0", "package-0", 5), zone("intel-rapl-mmio:0", "package-0", 9)])
                ) as meter:
        assert [one.scope for one in meter.quantities] == ["cpu package-0"]
        assert meter.absent == {"dram": "this processor does not count its memory's energy"}


def readings(tmp_path: Path, *, clock: list[float], microjoules: list[int]) -> list[float | None]:
    """Return what a meter reads at moments at which a counter stands so; the first is before the meter is there."""
    found = replay(tmp_path, [zone("intel-rapl:0", "package-0", used) for used in microjoules], clock=clock)
    with opened(found) as meter:
        values = [meter.read()[0]]
        for _ in clock[2:]:
            found.pause(0)
            values.append(meter.read()[0])
    return values


def test_a_counter_that_begins_anew_again_and_again_is_followed_over_minutes(tmp_path: Path) -> None:
    """350 W for 400 s, of a counter that begins anew after 188 s."""
    clock = [-1.0, *(20.0 * i for i in range(21))]
    values = readings(tmp_path, clock=clock, microjoules=[int(350e6 * (at + 150)) % RANGE for at in clock])
    assert values == [pytest.approx(350 * at, abs=0.01) for at in clock[1:]]


def test_joules_that_may_have_been_lost_are_no_window_s_and_the_next_window_has_its_own(tmp_path: Path) -> None:
    clock = [-1.0, 0.0, 30.0, 130.0, 140.0]
    values = readings(tmp_path, clock=clock, microjoules=[int(200e6 * (at + 1)) % RANGE for at in clock])
    quantity = Zone("cpu package-0", lambda: None).quantity
    grown = [difference(quantity, *pair) for pair in pairwise(values)]
    assert grown == [pytest.approx(6000.0), None, pytest.approx(2000.0)]
    assert difference(quantity, values[0], values[-1]) is None, "a window that holds the gap"


def test_a_counter_that_stands_still_gives_no_number(tmp_path: Path) -> None:
    assert readings(tmp_path, clock=[-1.0, 0.0, 2.0, 4.0], microjoules=[1, 2_000_000, 2_000_000, 9_000_000]) == [
        0.0, None, pytest.approx(7.0)]


def test_a_counter_behind_which_nothing_counts_is_absent(tmp_path: Path) -> None:
    still = zone("intel-rapl:0", "package-0", 7)
    with pytest.raises(Absent, match="stands still"), opened(replay(tmp_path, [still, still])):
        pass


def test_what_only_root_may_read_is_absent_with_both_remedies(tmp_path: Path) -> None:
    denied = zone("intel-rapl:0", "package-0", None)
    with pytest.raises(Absent, match=r"CVE-2020-8694.*chmod -R a\+r /sys/class/powercap.*perf_event_paranoid=0"), \
            opened(replay(tmp_path, [denied, denied])):
        pass


def test_one_zone_that_cannot_be_read_costs_that_scope_alone(tmp_path: Path) -> None:
    moments = [{**zone("intel-rapl:0", "package-0", used), **zone("intel-rapl:0:0", "dram", None)} for used in (1, 2)]
    with opened(replay(tmp_path, moments)) as meter:
        assert [one.scope for one in meter.quantities] == ["cpu package-0"]
        assert "chmod" in meter.absent["dram package-0"]


def test_a_zone_that_goes_gives_no_number_and_one_that_comes_back_goes_on(tmp_path: Path) -> None:
    moments = [zone("intel-rapl:0", "package-0", used) for used in (1, 1_000_000, None, 3_000_000)]
    found = replay(tmp_path, moments)
    with opened(found) as meter:
        values = [meter.read()[0]]
        for _ in range(2):
            found.pause(0)
            values.append(meter.read()[0])
    assert values == [0.0, None, pytest.approx(2.0)]


def test_a_machine_without_powercap_says_what_would_bring_it(tmp_path: Path) -> None:
    with pytest.raises(Absent, match=r"no .*/intel-rapl:\*.*intel_rapl_msr"), opened(replay(tmp_path, [{}])):
        pass


def counts(value: int, *, cores: tuple[int, ...] = (0, 18)) -> dict[str, object]:
    return {f"{event} of core {core}": count(value) for event in ("energy-pkg", "energy-ram", "energy-psys")
            for core in cores}


def test_perf_s_power_events_are_read_where_they_may_be(tmp_path: Path) -> None:
    found = replay(tmp_path, [server(9)] * 3, perf=[counts(0), counts(10**10), counts(3 * 10**10)],
                   always=EVENTS | TOPOLOGY)
    with opened(found) as meter:
        assert meter.about == {"source": "perf"}
        assert [one.scope for one in meter.quantities] == [
            "cpu package-0", "cpu package-1", "dram package-0", "dram package-1", "psys"]
        meter.read()
        found.pause(1)
        assert meter.read() == [pytest.approx(4.656613)] * 5
    assert found.handles == [""] * 5, "handles that were not given back"


def test_dies_of_one_package_are_told_apart(tmp_path: Path) -> None:
    root = write(tmp_path, {f"sys/devices/system/cpu/cpu{core}/topology/{part}": number for core, numbers in (
        (0, (0, 0)), (18, (0, 1)), (36, (1, 0))) for part, number in zip(("physical_package_id", "die_id"), numbers,
                                                                       strict=True)})
    assert rapl.packages(root, [0, 18, 36]) == {0: "package-0-die-0", 18: "package-0-die-1", 36: "package-1"}
    assert rapl.numbers("0-2,18") == [0, 1, 2, 18] and rapl.numbers("") == []


def test_powercap_is_read_where_perf_is_forbidden(tmp_path: Path) -> None:
    perf = [{name: {"errno": errno.EACCES} for name in counts(0)}] * 2
    with opened(replay(tmp_path, [server(1), server(2)], perf=perf, always=EVENTS | TOPOLOGY)) as meter:
        assert meter.about == {"source": "powercap"}


def test_perf_that_is_forbidden_is_told_of_with_its_level_and_remedy(tmp_path: Path) -> None:
    perf = [{name: {"errno": errno.EACCES} for name in counts(0)}]
    with pytest.raises(Absent, match=r"forbidden .*paranoid is 2.*perf_event_paranoid=0, or by CAP_PERFMON"), \
            opened(replay(tmp_path, [{}], perf=perf, always=EVENTS | TOPOLOGY)):
        pass


def test_an_amd_processor_has_packages_alone(tmp_path: Path) -> None:
    amd = {f"{POWER}/type": 9, f"{POWER}/cpumask": "0", f"{POWER}/events/energy-pkg": "event=0x02",
           f"{POWER}/events/energy-pkg.scale": UNIT}
    perf = [{"energy-pkg of core 0": count(value)} for value in (5, 10**10)]
    with opened(replay(tmp_path, [{}, {}], perf=perf, always=amd)) as meter:
        assert [one.scope for one in meter.quantities] == ["cpu package-0"]
        assert list(meter.absent) == ["dram"]


def test_a_thread_looks_often_enough_at_a_counter_that_begins_anew_and_ends() -> None:
    asked: list[float] = []

    def ask() -> float:
        asked.append(0.0)
        return float(len(asked))

    meter = Tallies([Zone("cpu package-0", ask, wraps=20.0)], lambda: 0.0, source="", absent={}, close=lambda: None)
    assert meter.every == pytest.approx(0.005), "seconds, of the 0.02 in which 1000 W come round"
    assert eventually(lambda: len(asked) > 5, within=10)
    meter.close()
    assert eventually(lambda: stands(lambda: len(asked)), within=10)


def stands(number: Callable[[], int]) -> bool:
    before = number()
    return eventually(lambda: number() > before, within=0.2) is False


def test_joules_of_a_window_are_those_used_during_it(tmp_path: Path) -> None:
    found = replay(tmp_path, [server(0), server(1_000_000), server(8_000_000)])
    meters = Metering([Rapl(found.root, found, clock=found.clock, pause=found.pause)], "cpu")
    before = meters.read()
    found.pause(1)
    used = meters.used(before, meters.read())
    meters.close()
    assert sum(used.joules.values()) == pytest.approx(4 * 7.0)
    assert used.counted == {"psys platform energy": pytest.approx(7.0)}
