"""Energy of processor packages: what is read, what is absent and why, and counters that begin anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlcompare.core.meters.meter import Absent
from dlcompare.core.meters.rapl import Rapl
from dlcompare.core.worker.metering import Metering
from dlcompare.core.worker.windows import watch


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
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 2_500_000)
    meter = Rapl(tmp_path).open("cpu")
    assert [one.scope for one in meter.quantities] == ["cpu package-0", "cpu package-1"]
    assert meter.read() == [2.5, 7.0]


def test_what_cannot_be_read_is_absent_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Absent, match=r"has no .*/intel-rapl"):
        Rapl(tmp_path / "nothing").open("cpu")
    zone(tmp_path, "intel-rapl:0", "package-0", "not a number")
    with pytest.raises(Absent, match="chmod"):
        Rapl(tmp_path).open("cpu")


def test_a_counter_that_begins_anew_is_followed(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", 990_000_000)
    meters = Metering([Rapl(tmp_path)], "cpu")
    before = meters.read()
    file.write_text("15000000\n")
    assert meters.used(before, meters.read()).joules == {"cpu package-0": pytest.approx(25.0)}
    file.unlink()
    assert meters.used(before, meters.read()).joules == {}


def test_a_window_s_joules_are_those_of_its_runs(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", 3_000_000)

    def run() -> str:
        file.write_text(f"{int(file.read_text()) + 10_000_000}\n")
        return "taken"

    taken, around = watch(run, meters=Metering([Rapl(tmp_path)], "cpu"))
    assert (taken, around.joules) == ("taken", {"cpu package-0": pytest.approx(10.0)})
    assert watch(lambda: None)[1].joules == {}, "where no meter is"
