"""Energy counters: which are read, how they wrap, and that a window's joules are those used during it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dlcompare.core.meters import energy
from dlcompare.core.worker.windows import watch

NVML = """
static unsigned long long joules = 5;
static int open = 0;
int nvmlInit_v2(void) { open = 1; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)7;
    return open && index == 1 ? 0 : 2;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) { *handle = (void *)7; return uuid[0] == 'G' ? 0 : 2; }
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) {
    if (handle != (void *)7) return 2;
    *mj = 1000 * joules++;
    return 0;
}
"""


def zone(powercap: Path, folder: str, name: str, microjoules: int | str, *, most: int = 1000_000_000) -> Path:
    """Make a zone as the kernel shows it (Documentation/power/powercap/powercap.rst)."""
    place = powercap / folder
    place.mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (place / file).write_text(f"{text}\n")
    return place / "energy_uj"


def test_packages_are_counted_once_without_their_parts(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 2_500_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 2_500_000)
    meters = energy.counters("cpu", powercap=tmp_path)
    assert energy.read(meters) == {"cpu package-0": 2.5, "cpu package-1": 7.0}


def test_what_cannot_be_read_is_absent_and_not_zero(tmp_path: Path) -> None:
    assert energy.counters("cpu", powercap=tmp_path / "nothing") == []
    zone(tmp_path, "intel-rapl:0", "package-0", "not a number")
    (tmp_path / "intel-rapl:1").mkdir()
    assert energy.counters("cuda", powercap=tmp_path, nvml="libnothing.so.1") == []


def test_a_counter_that_begins_anew_is_followed(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", 990_000_000)
    meters = energy.counters("cpu", powercap=tmp_path)
    before = energy.read(meters)
    file.write_text("15000000\n")
    assert energy.between(meters, before, energy.read(meters)) == {"cpu package-0": pytest.approx(25.0)}
    file.unlink()
    assert energy.between(meters, before, energy.read(meters)) == {}


def test_a_window_s_joules_are_those_of_its_runs(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", 3_000_000)

    def run() -> str:
        file.write_text(f"{int(file.read_text()) + 10_000_000}\n")
        return "taken"

    taken, around = watch(run, meters=energy.counters("cpu", powercap=tmp_path))
    assert (taken, around.joules) == ("taken", {"cpu package-0": pytest.approx(10.0)})
    assert watch(lambda: None)[1].joules == {}, "where no meter is"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, to compile a library that answers as NVML does")
@pytest.mark.parametrize(("visible", "order", "scope"), [
    ("1,0", "PCI_BUS_ID", "gpu 1"), ("1", "FASTEST_FIRST", None), ("GPU-8c", "FASTEST_FIRST", "gpu GPU-8c"),
    ("0", "PCI_BUS_ID", None), ("", "PCI_BUS_ID", None)])
def test_the_gpu_is_the_first_visible_one_or_none_where_that_is_not_sure(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, order: str, scope: str | None) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / f"libnvidia-{visible[:1]}.so"
    source.write_text(NVML)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    meters = energy.counters("cuda", powercap=tmp_path, nvml=str(library))
    assert [meter.scope for meter in meters] == ([scope] if scope else [])
    assert energy.counters("cpu", powercap=tmp_path, nvml=str(library)) == []
    if scope:
        before = energy.read(meters)
        assert energy.between(meters, before, energy.read(meters)) == {scope: 1.0}
