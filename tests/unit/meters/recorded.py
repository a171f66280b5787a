"""Recordings for tests: made up after the kernel's documentation where no such machine is at hand, in the format of
``core/meters/host/recording.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.meters.host.recording import Replay

POWERCAP, POWER = "sys/class/powercap", "sys/bus/event_source/devices/power"
UNIT = "2.3283064365386962890625e-10"  # joules of perf's power events (arch/x86/events/rapl.c)
RANGE = 65_712_999_613  # microjoules: 2^32 units of 15.3


def write(folder: Path, files: Mapping[str, object]) -> Path:
    """Write files below a folder, by their names in it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return folder


def zone(folder: str, name: str, microjoules: int | None, *, most: int = RANGE) -> dict[str, object]:
    """Return the files of a zone as powercap shows them (Documentation/power/powercap/powercap.rst); None: only root
    may read its joules."""
    counter = {} if microjoules is None else {f"{POWERCAP}/{folder}/energy_uj": microjoules}
    return {f"{POWERCAP}/{folder}/name": name, f"{POWERCAP}/{folder}/max_energy_range_uj": most, **counter}


def count(value: int, *, enabled: int = 1000, running: int = 1000) -> dict[str, int]:
    return {"value": value, "enabled": enabled, "running": running}


def replay(tmp_path: Path, moments: Sequence[Mapping[str, object]], *, perf: Sequence[Mapping[str, Any]] = (),
           clock: Sequence[float] = (), always: Mapping[str, object] | None = None) -> Replay:
    """Return a replay of moments, the files of each by name; the clock goes on by a second unless it is given."""
    for number, files in enumerate(moments):
        about = {"clock": clock[number] if clock else float(number), "perf": perf[number] if perf else {}}
        write(tmp_path / "recording" / str(number), {**(always or {}), **files, "moment.json": json.dumps(about)})
    return Replay(tmp_path / "recording", tmp_path / "now")
