"""What else the machine did meanwhile: processor time that was not this job's, and throttling of the clock (Linux).

Read before and after a window, outside its clock: some milliseconds for some hundred processes.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.variables import JOB_MARK

TICKS = os.sysconf("SC_CLK_TCK")
FRESH = 0.05  # seconds
FOUND: dict[tuple[str, Path], tuple[float, list[Path]]] = {}  # when, and which
THROTTLES = "devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"


@dataclass(frozen=True)
class Reading:
    """Processor seconds so far: of everybody (what a hypervisor took included), and of this job; throttle events."""

    busy: float
    job: float
    throttled: int


@dataclass(frozen=True)
class Foreign:
    """What the machine did for others: cores on average, and how often its clock was slowed; None: nobody looked."""

    cores: float | None
    throttled: int | None


def read(mark: str, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Reading | None:
    """Return a reading for the job that carries a mark; None where the system does not tell."""
    try:
        busy = sum(seconds_of(line) for line in (proc / "stat").read_text().splitlines() if ours(line))
    except (OSError, ValueError):
        return None
    return Reading(busy, sum(seconds(pid) for pid in marked(mark, proc)), throttles(sys))


def ours(line: str) -> bool:
    """Return whether a line of /proc/stat counts a core that this process may use; on others, neighbours work."""
    name = line.partition(" ")[0]
    return name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in os.sched_getaffinity(0)


def seconds_of(line: str) -> float:
    """Return how long a core was busy: user, nice, system, irq, softirq, steal; guest time is part of user time."""
    fields = [int(word) for word in line.split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICKS


def marked(mark: str, proc: Path) -> list[Path]:
    """Return the folders of a job's living processes, as found at most ``FRESH`` seconds ago: all meters that are read
    around a window need them, and looking at each process of a machine costs more than all else they do."""
    when, found = FOUND.get((mark, proc), (-math.inf, []))
    if time.monotonic() - when > FRESH:
        found = find_marked(mark, proc)
        FOUND[mark, proc] = (time.monotonic(), found)
    return found


def find_marked(mark: str, proc: Path) -> list[Path]:
    """Return the folders of living processes whose environment carries the mark."""
    word = f"{JOB_MARK}={mark}".encode()
    found = []
    for folder in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder)
    return found


def seconds(process: Path) -> float:
    """Return the processor seconds of a process and of its children that have ended."""
    with contextlib.suppress(OSError):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS
    return 0.0


def throttles(sys: Path) -> int:
    """Return how often the clock was slowed for heat, all cores together; 0 where nobody counts."""
    total = 0
    for file in sys.glob(THROTTLES):
        with contextlib.suppress(OSError, ValueError):
            total += int(file.read_text())
    return total


def others(before: Reading | None, after: Reading | None, *, seconds: float) -> Foreign:
    """Return what happened between two readings."""
    if before is None or after is None:
        return Foreign(None, None)
    foreign = (after.busy - before.busy) - (after.job - before.job)
    return Foreign(max(0.0, foreign / seconds), after.throttled - before.throttled)
