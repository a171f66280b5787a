"""NVIDIA's GPUs, against recordings of boards whose load is known: what is read, what is inferred, and every fault."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from boards import Board, Clock, job, record

from dlcompare.core.meters import nvml, series
from dlcompare.core.meters.held import Held
from dlcompare.core.meters.meter import Absent, Metered, Series
from dlcompare.core.meters.nvidia import Nvidia
from dlcompare.core.meters.recording import DriverError, driver, replayed
from dlcompare.core.variables import RECORD_METERS, REPLAY_METERS


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Metered]:
    """Return what makes the readings of a board that idles, works from 3 to 9 s, and idles until 12."""
    def make(**traits: object) -> Metered:
        clock = Clock()
        board = Board(**{"load": job(3, 9), "clock": clock, **traits})  # type: ignore[arg-type]
        return record(board, clock, tmp_path / "recording.jsonl", seconds=12.0)

    return make


def of(metered: Metered, key: str) -> Series:
    return next(one for one in metered.series if one.key == key)


def test_energy_is_that_of_the_load_by_counter_and_by_integral(measured: Callable[..., Metered]) -> None:
    metered = measured()
    counted = series.grown(of(metered, "gpu 0 energy"), 4.0, 8.0)
    integrated = series.integral(of(metered, "gpu 0 power"), 4.0, 8.0)
    assert counted == pytest.approx(4 * 320, rel=0.01) and integrated == pytest.approx(4 * 320, rel=0.01)
    assert metered.absent == {} and metered.about["gpu 0"]["power_scopes"] == {"power": "GPU", "power average": "GPU"}


def test_how_often_and_over_how_long_it_measures_is_seen(measured: Callable[..., Metered]) -> None:
    about, metered = measured().about["gpu 0"], measured()
    assert about["update_s"]["power"] == pytest.approx(0.1, abs=0.01)
    assert about["update_s"]["energy"] == pytest.approx(0.1, abs=0.01)
    assert series.averaging(of(metered, "gpu 0 power average")) == pytest.approx(1.0, abs=0.2)
    assert (series.averaging(of(metered, "gpu 0 power")) or 0.0) < 0.2
    assert about["published"]["power"]["duty"] == 0.25 and about["published"]["power average"]["duty"] == 1.0


def test_part_time_measuring_misses_what_falls_between(measured: Callable[..., Metered]) -> None:
    """A load that is busy for half of every 100 ms, in step with the board, which looks at the last quarter."""
    metered = measured(load=lambda now: 320.0 if 0.01 < (now + 1e-6) % 0.1 < 0.06 else 70.0)
    assert series.mean(of(metered, "gpu 0 power"), 2.0, 10.0) == pytest.approx(70.0, rel=0.2), "195 W in truth"


def test_what_the_gpu_did_beside_is_in_units(measured: Callable[..., Metered]) -> None:
    metered = measured()
    units = {one.name: one.unit for one in metered.quantities}
    assert units["memory"] == "B" and units["SM clock"] == "Hz" and units["temperature"] == "degC"
    assert of(metered, "gpu 0 SM clock").values == (1755e6,) and max(of(metered, "gpu 0 utilisation").values) == 0.97
    assert 4 in of(metered, "gpu 0 clocks held back").values, "the power cap, while it worked"
    assert series.grown(of(metered, "gpu 0 NVLink sent"), 4.0, 5.0) == pytest.approx(1024e3, rel=0.1)
    assert of(metered, "gpu 0 temperature").values[0] == 34


def test_a_field_that_is_refused_is_absent_with_its_code(measured: Callable[..., Metered]) -> None:
    metered = measured(refused={83, 197})
    assert "gpu 0 energy" in metered.absent and "code 3" in metered.absent["gpu 0 energy"]
    assert "gpu 0 PCIe sent" in metered.absent
    assert {"gpu 0 energy", "gpu 0 PCIe sent"}.isdisjoint(one.key for one in metered.series)


def test_power_of_the_module_is_taken_where_there_is_none_of_the_gpu(measured: Callable[..., Metered]) -> None:
    assert measured(module=True).about["gpu 0"]["power_scopes"] == {"power": "module", "power average": "module"}


def test_before_there_were_two_powers_there_was_one(measured: Callable[..., Metered]) -> None:
    metered = measured(refused={185, 186}, name="Tesla V100-SXM2-16GB", update=0.02, window=0.01)
    keys = {one.key for one in metered.series}
    assert "gpu 0 power usage" in keys and "gpu 0 power" not in keys
    assert metered.about["gpu 0"]["published"]["power usage"]["duty"] == pytest.approx(0.525)


def test_a_gpu_that_falls_off_the_bus_is_told_of_and_the_other_goes_on(measured: Callable[..., Metered]) -> None:
    metered = measured(count=2, lost={1: 6.0})
    assert "GPU is lost" in metered.absent["gpu 1"] and "gpu 0" not in metered.absent
    assert series.grown(of(metered, "gpu 1 energy"), 4.0, 5.5) is not None
    assert series.grown(of(metered, "gpu 1 energy"), 4.0, 8.0) is None
    assert series.grown(of(metered, "gpu 0 energy"), 4.0, 8.0) is not None


def test_a_gpu_that_is_gone_from_the_start_is_absent(measured: Callable[..., Metered]) -> None:
    metered = measured(count=2, lost={0: 0.0})
    assert metered.absent["gpu 0"] == "GPU is lost" and {one.scope for one in metered.quantities} == {"gpu 1"}
    with pytest.raises(Absent, match="lists no GPU that answers; gpu 0: GPU is lost"):
        measured(lost={0: 0.0})


def test_a_counter_that_stands_still_or_begins_anew_gives_no_number(measured: Callable[..., Metered]) -> None:
    stuck = of(measured(stuck=5.0), "gpu 0 energy")
    assert series.stands_still(stuck, 5.5, 8.0) and not series.stands_still(stuck, 4.0, 5.5)
    reset = of(measured(reset=6.0), "gpu 0 energy")
    assert series.grown(reset, 4.0, 8.0) is None and series.grown(reset, 6.2, 8.0) == pytest.approx(1.8 * 320, rel=0.01)


def test_parts_of_a_gpu_are_known_by_their_names(measured: Callable[..., Metered]) -> None:
    metered = measured(parts=2)
    assert [name[:4] for name in metered.devices["gpu 0"]] == ["GPU-", "0000", "MIG-", "MIG-"]
    assert metered.about["gpu 0"]["mig"] == 2


def test_a_recording_answers_as_the_board_did(measured: Callable[..., Metered], tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    metered = measured(count=2, lost={1: 6.0}, refused={83})
    monkeypatch.setenv(REPLAY_METERS, str(tmp_path / "recording.jsonl"))
    held = Held(Nvidia(), "cpu")
    assert held.metered.quantities == metered.quantities and held.metered.devices == metered.devices
    assert held.read() is not None


@pytest.mark.parametrize("text", [None, "not JSON\n", "[1]\n", '{"call": "nvmlInit"}\n'])
def test_what_is_no_recording_is_absent_and_says_so(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "damaged.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Absent, match=r"damaged\.jsonl, which is no recording"):
        replayed(file)


def test_a_call_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DriverError, match="not in the recording"):
        replayed(tmp_path / "empty.jsonl")("nvmlDeviceGetCount")


def test_errors_are_recorded_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "made.jsonl"
    monkeypatch.setenv(RECORD_METERS, str(file))
    call = driver(lambda: Board(load=job(0, 1), clock=Clock(), lost={0: 0.0}))
    for asked in (lambda: call, lambda: replayed(file)):
        with pytest.raises(DriverError, match="GPU is lost"):
            asked()("nvmlDeviceGetName", 0)


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


def test_without_the_package_the_driver_or_nvidia_s_own_it_is_absent_with_the_remedy(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Absent, match=r"pip install 'dlcompare\[nvidia\]'"):
        nvml.library()
    monkeypatch.setitem(sys.modules, "pynvml", ModuleType("pynvml"))
    with pytest.raises(Absent, match="pip uninstall pynvml"):
        nvml.library()

    def refuse() -> None:
        raise NVMLError(9)

    found = SimpleNamespace(_nvmlGetFunctionPointer=None, NVMLError=NVMLError, nvmlInit=refuse)
    monkeypatch.setitem(sys.modules, "pynvml", found)
    with pytest.raises(Absent, match="no NVIDIA driver answers here: code 9"):
        nvml.library()


def test_the_real_package_has_every_function_and_structure_that_is_asked_for() -> None:
    pynvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    asked = {name for name in vars(Board) if name.startswith("nvmlDevice")}
    assert asked and not [name for name in asked if not hasattr(pynvml, name)]
    fields = (pynvml.c_nvmlFieldValue_t * 2)()
    fields[0].fieldId, fields[0].valueType, fields[0].value.ullVal = 83, 3, 123_456_789_012
    fields[1].fieldId, fields[1].nvmlReturn = 186, 3
    assert nvml.plain(fields) == [{"field": 83, "scope": 0, "return": 0, "value": 123_456_789_012},
                                  {"field": 186, "scope": 0, "return": 3, "value": None}]
    assert nvml.plain(pynvml.c_nvmlUtilization_t(gpu=97, memory=4)) == {"gpu": 97, "memory": 4}
    assert nvml.plain(pynvml.nvmlPciInfo_t(busId=b"00000000:1B:00.0"))["busId"] == "00000000:1B:00.0"
    assert [getattr(pynvml, f"NVML_FI_DEV_{name}") for name in (
        "POWER_INSTANT", "POWER_AVERAGE", "TOTAL_ENERGY_CONSUMPTION", "MEMORY_TEMP", "PCIE_COUNT_TX_BYTES",
        "NVLINK_THROUGHPUT_DATA_TX")] == [186, 185, 83, 82, 197, 138]


def test_this_machine_has_no_driver_or_it_is_read() -> None:
    held = Held(Nvidia(), "cuda")
    assert held.metered.reason or held.metered.quantities
