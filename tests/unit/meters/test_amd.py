"""AMD's GPUs: which counters are believed, what is read, and what is absent without ROCm."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boards import Clock

from dlcompare.core.meters import amd
from dlcompare.core.meters.meter import Absent
from dlcompare.core.meters.recording import DriverError, recorded, replayed


class Dies:
    """Two dies of 90 W each, as amdsmi shows them; the counter of each grows by its share of what both take."""

    def __init__(self, clock: Clock, *shares: float, watts: Any = 90) -> None:
        self.clock, self.shares, self.watts, self.lost = clock, shares, watts, False

    def __call__(self, name: str, *args: Any) -> Any:
        if name == "count":
            return len(self.shares)
        if self.lost:
            raise DriverError(2, "AMDSMI_STATUS_IO - I/O Error")
        number = args[0]
        return {"amdsmi_get_gpu_device_uuid": f"fcff7460-0000-1000-80e9-00000000000{number}",
                "amdsmi_get_gpu_device_bdf": f"0000:c{number}:00.0", "amdsmi_get_temp_metric": 41,
                "amdsmi_get_gpu_asic_info": {"market_name": "AMD Instinct MI250X"},
                "amdsmi_get_gpu_activity": {"gfx_activity": 97, "umc_activity": "N/A"},
                "amdsmi_get_power_info": {"current_socket_power": "N/A", "average_socket_power": self.watts},
                "amdsmi_get_energy_count": {"energy_accumulator": int(1e6 * self.shares[number] * 90 * self.clock.now
                                                                     / 15.3), "counter_resolution": 15.3}}[name]


def opened(*shares: float, **traits: Any) -> tuple[amd.Gpus, Dies, Clock]:
    clock = Clock(100.0)
    dies = Dies(clock, *shares, **traits)
    return amd.Gpus(dies, clock=clock, nap=clock.nap), dies, clock


def test_a_counter_that_agrees_with_power_is_read() -> None:
    gpus, _, clock = opened(1.0)
    before = dict(zip([one.key for one in gpus.quantities], gpus.read(), strict=True))
    clock.now += 10
    after = dict(zip([one.key for one in gpus.quantities], gpus.read(), strict=True))
    assert after["amd gpu 0 energy"] - before["amd gpu 0 energy"] == pytest.approx(900, rel=1e-3)
    assert [after[f"amd gpu 0 {name}"] for name in ("power", "temperature", "utilisation")] == [90.0, 41.0, 0.97]
    assert gpus.devices["amd gpu 0"][1] == "0000:c0:00.0" and gpus.about["amd gpu 0"]["name"] == "AMD Instinct MI250X"


def test_of_two_dies_that_one_counter_serves_neither_is_believed() -> None:
    gpus, *_ = opened(2.0, 0.0)
    assert {one.key for one in gpus.quantities if one.name == "energy"} == set()
    assert "told 90" in gpus.absent["amd gpu 0 energy"] and "told 0 J" in gpus.absent["amd gpu 1 energy"]
    assert {one.key for one in gpus.quantities if one.name == "power"} == {"amd gpu 0 power", "amd gpu 1 power"}


def test_a_counter_without_power_to_hold_it_against_is_not_believed() -> None:
    with pytest.raises(Absent, match="energy or power; amd gpu 0 energy: its counter could not be held against"):
        opened(1.0, watts="N/A")


def test_a_gpu_that_is_lost_is_told_of() -> None:
    gpus, dies, _ = opened(1.0)
    dies.lost = True
    assert set(gpus.read()) == {None} and gpus.absent["amd gpu 0"] == "it was lost while the job ran"


def test_a_recording_answers_as_the_boards_did(tmp_path: Path) -> None:
    clock = Clock(100.0)
    first = amd.Gpus(recorded(Dies(clock, 1.0), tmp_path / "made.jsonl", clock=clock), clock=clock, nap=clock.nap)
    values = first.read()
    clock = Clock(100.0)
    again = amd.Gpus(replayed(tmp_path / "made.jsonl"), clock=clock, nap=clock.nap)
    assert again.quantities == first.quantities and again.read() == values


class AmdSmiException(Exception):
    pass


def test_without_rocm_it_is_absent_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(Absent, match="comes with ROCm"):
        amd.library()

    def refuse() -> None:
        raise AmdSmiException("Error code:\n\t34 | not initialised")

    monkeypatch.setitem(sys.modules, "amdsmi", SimpleNamespace(AmdSmiException=AmdSmiException, amdsmi_init=refuse))
    with pytest.raises(Absent, match="no AMD driver answers here: Error code: 34"):
        amd.library()


def test_constants_and_handles_are_those_of_the_package() -> None:
    seen: list[Any] = []
    kinds = SimpleNamespace(HOTSPOT=1)
    package = SimpleNamespace(AmdSmiException=AmdSmiException, AmdSmiTemperatureType=kinds,
                              amdsmi_get_temp_metric=lambda *args: seen.append(args) or 41)
    assert amd.asked(package, ["first", "second"], "amdsmi_get_temp_metric", 1, "AmdSmiTemperatureType.HOTSPOT") == 41
    assert seen == [("second", 1)] and amd.asked(package, ["first"], "count") == 1
