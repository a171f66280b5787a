"""What the meters of a host read, kept and played again: ``python -m dlcompare.core.meters.host.recording FOLDER``.

A recording has a folder for each moment, with the files that meters read below ``proc`` and ``sys``, and
``moment.json``: the clock, and what the kernel's counters gave. Of a process's environment nothing is kept but the
job's mark. So a machine that nobody here has can be sent as a few kilobytes, and every path be tested without it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from dlcompare.core.meters import foreign_load
from dlcompare.core.variables import JOB_MARK

from .events import HARDWARE
from .perf import Count, Event, Perf

MOMENT = "moment.json"
FILES = [
    "proc/stat",
    "proc/meminfo",
    "proc/net/dev",
    "proc/sys/kernel/perf_event_paranoid",
    "sys/class/powercap/intel-rapl*/name",
    "sys/class/powercap/intel-rapl*/energy_uj",
    "sys/class/powercap/intel-rapl*/max_energy_range_uj",
    "sys/bus/event_source/devices/power/type",
    "sys/bus/event_source/devices/power/cpumask",
    "sys/bus/event_source/devices/power/events/energy-*",
    "sys/bus/event_source/devices/*/cpus",
    "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "sys/devices/system/cpu/cpu[0-9]*/topology/die_id",
    "sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "sys/class/infiniband/*/ports/*/counters/port_rcv_data",
    "sys/class/infiniband/*/ports/*/counters/port_xmit_data",
]


class Recorder(Perf):
    """The kernel's counters, every answer of which is kept."""

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}

    def open(self, event: Event) -> int:
        try:
            handle = super().open(event)
        except OSError as error:
            self.opened[key(event)] = {"errno": error.errno}
            raise
        if event.cpu is None:
            self.start(handle)
        self.opened[key(event)] = handle
        return handle

    def counts(self) -> dict[str, Any]:
        """Return by event what it has counted, or with which error it was refused."""
        return {name: found if isinstance(found, dict) else vars(self.read(found))
                for name, found in self.opened.items()}


class Replay(Perf):
    """A recording: meters read files below ``root``, a link into it, and counters here; ``pause`` goes a moment on."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root, self.number = folder, root, -1
        self.handles: list[str] = []
        self.pause(0.0)

    def pause(self, seconds: float) -> None:
        """Go on to the next moment."""
        self.number += 1
        if not (self.folder / str(self.number)).is_dir():
            raise IndexError(f"{self.folder} has {self.number} moments, and no more")
        self.root.unlink(missing_ok=True)
        self.root.symlink_to((self.folder / str(self.number)).resolve())

    def clock(self) -> float:
        """Return the recorded time in seconds."""
        return float(self._moment()["clock"])

    def open(self, event: Event) -> int:
        found = self._moment()["perf"][key(event)]
        if "errno" in found:
            raise OSError(found["errno"], os.strerror(found["errno"]))
        self.handles.append(key(event))
        return len(self.handles) - 1

    def start(self, handle: int) -> None:
        """Do nothing: what was recorded was counted."""

    stop = start

    def read(self, handle: int) -> Count:
        return Count(**self._moment()["perf"][self.handles[handle]])

    def close(self, handle: int) -> None:
        self.handles[handle] = ""

    def _moment(self) -> Any:
        return json.loads((self.root / MOMENT).read_text())


def key(event: Event) -> str:
    """Return what a recording calls an event."""
    return event.name if event.cpu is None else f"{event.name} of core {event.cpu}"


def record(folder: Path, *, moments: int, every: float, root: Path = Path("/"), mark: str | None = None) -> None:
    """Record what meters read so many times, every so many seconds; of processes, those that carry a mark."""
    from dlcompare.core.meters.rapl import power_events

    perf = Recorder()
    with contextlib.suppress(OSError):
        list(power_events(root, perf, []))
    for event in HARDWARE:
        with contextlib.suppress(OSError):
            perf.open(event)
    for number in range(moments):
        time.sleep(every if number else 0.0)
        keep(folder / str(number), root, perf, mark)


def keep(moment: Path, root: Path, perf: Recorder, mark: str | None) -> None:
    """Keep one moment."""
    processes = foreign_load.find_marked(mark, root / "proc") if mark else []
    files = [file for pattern in FILES for file in sorted(root.glob(pattern))]
    for file in [*files, *(process / name for process in processes for name in ("stat", "io"))]:
        with contextlib.suppress(OSError):  # what may not be read is not in it, and so is absent there too
            put(moment / file.relative_to(root), file.read_text())
    for process in processes:
        put(moment / process.relative_to(root) / "environ", f"{JOB_MARK}={mark}")
    put(moment / MOMENT, json.dumps({"clock": time.monotonic(), "perf": perf.counts()}, indent=1))


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=4)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between moments")
    asked = parser.parse_args()
    record(asked.folder, moments=asked.moments, every=asked.every, mark=os.environ.get(JOB_MARK))
