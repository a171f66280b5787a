"""Joules of the processor packages, as Linux's powercap counts them (RAPL), for AMD's processors too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dlcompare.core import hookimpl

from .meter import ENERGY, Absent, Meter, Opened, Quantity

POWERCAP = Path("/sys/class/powercap")


class Zones(Opened):
    """Zones of powercap whose files this process may read."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = list(files.values())
        self.quantities = [Quantity(f"cpu {name}", ENERGY, "J", wraps=joules(file.with_name("max_energy_range_uj")))
                           for name, file in files.items()]

    def read(self) -> Sequence[float | None]:
        return [joules(file) for file in self.files]


class Rapl(Meter):
    """Energy of processor packages."""

    name = "rapl"
    title = "joules of processor packages (powercap)"

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self.powercap = powercap

    def open(self, device: str) -> Opened:
        found = dict(packages(self.powercap))
        if not found:
            raise Absent(f"this system has no {self.powercap}/intel-rapl:*, where Linux counts a processor's energy")
        readable = {name: file for name, file in found.items() if joules(file) is not None}
        if not readable:
            raise Absent(f"only root may read {next(iter(found.values()))}; allow it with: "
                         f"sudo chmod -R a+r {self.powercap}")
        return Zones(readable)


def packages(powercap: Path) -> Iterator[tuple[str, Path]]:
    """Yield the packages' names and counters."""
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package"):
            yield name, zone / "energy_uj"


def joules(file: Path) -> float | None:
    """Return the joules in a file of microjoules; None if it cannot be read."""
    try:
        return int(file.read_text()) / 1e6
    except (OSError, ValueError):
        return None


@hookimpl
def dlcompare_meters() -> list[Meter]:
    return [Rapl()]
