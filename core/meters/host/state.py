"""How the machine is while a job runs: memory free to use, and the clock of its cores. Sampled beside the job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlcompare.core.meters.meter import GAUGE, SERIES, Absent, Meter, Opened, Quantity

CLOCKS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"  # kHz; on x86 the mean over the last tick


class Memory(Meter):
    """Memory that programs could still have without swapping, and how much of the machine's is swapped out."""

    name = "memory"
    title = "memory that is free to use, and swapped out (/proc/meminfo)"
    sort = SERIES
    period = 0.5

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def open(self, device: str) -> Opened:
        if "MemAvailable" not in meminfo(self.root):
            raise Absent(f"{self.root / 'proc/meminfo'} does not tell what is available: Linux's does, since 3.14")
        return Free(self.root)


class Free(Opened):
    """What is available, and what is swapped out, in bytes."""

    quantities = [Quantity("memory", "available", "B", GAUGE), Quantity("memory", "swapped out", "B", GAUGE)]

    def __init__(self, root: Path) -> None:
        self.root = root
        self.about = {"total_bytes": meminfo(root).get("MemTotal")}

    def read(self) -> Sequence[float | None]:
        now = meminfo(self.root)
        swap = now["SwapTotal"] - now["SwapFree"] if {"SwapTotal", "SwapFree"} <= now.keys() else None
        return [now.get("MemAvailable"), swap]


def meminfo(root: Path) -> dict[str, float]:
    """Return the bytes of /proc/meminfo by name; none where it is not there."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    return {name: 1024.0 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
            if rest.endswith("kB")}


class Clock(Meter):
    """The clock of the machine's cores, mean and fastest, as the kernel's frequency driver tells it."""

    name = "clock"
    title = "clock of the cores (cpufreq)"
    sort = SERIES
    period = 0.5

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def open(self, device: str) -> Opened:
        cores = [file for file in sorted(self.root.glob(CLOCKS)) if hertz(file) is not None]
        if not cores:
            raise Absent(f"{self.root / CLOCKS} is not there or cannot be read: virtual machines have no "
                         "say in their clock, and none is told; on hardware, load the kernel's cpufreq driver")
        return Ticking(cores)


class Ticking(Opened):
    """The cores' clock in Hz; one that idles tells of when it last worked, or nothing."""

    quantities = [Quantity("core clock", "mean", "Hz", GAUGE), Quantity("core clock", "fastest", "Hz", GAUGE)]

    def __init__(self, cores: Sequence[Path]) -> None:
        self.cores = cores

    def read(self) -> Sequence[float | None]:
        now = [found for core in self.cores if (found := hertz(core)) is not None]
        return [sum(now) / len(now), max(now)] if now else [None, None]


def hertz(file: Path) -> float | None:
    """Return the clock in a file, in Hz; None where nobody tells."""
    try:
        return 1000.0 * int(file.read_text())
    except (OSError, ValueError):
        return None
