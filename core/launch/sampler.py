"""The process that reads meters of the sort SERIES beside a job, in dlcompare's own interpreter, and writes a file.

It ends when its standard input does: the program that started it holds the other end. Lines of the file are JSON: what
the meters are; then readings, [monotonic clock, number of the meter, values]; last what each meter came to. Whatever
ends it, the lines before are whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import IO, Any

from dlcompare.core.meters.held import Held
from dlcompare.core.meters.meter import ENERGY, POWERS, SERIES, Meter, Metered
from dlcompare.core.meters.recording import replaying
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import to_plain

FLUSH_SECONDS = 1.0
READY, RESTING = b"ready", b"ready, and let it rest"  # what it says when meters are open: some that tell of rest


def wanted(device: str) -> list[Meter]:
    """Return the meters that are sampled beside a job on a device."""
    return [one for one in plugins().meters().values() if one.sort == SERIES and one.wanted(device)]


def sample(file: Path, device: str, core: str) -> None:
    """Sample until standard input ends; ``core`` is where to, "" for wherever there is room."""
    if core:
        os.sched_setaffinity(0, {int(core)})
    meters, beside = wanted(device), {"core": int(core) if core else None, "replayed": replaying()}
    held = [Held(meter, device) for meter in meters]
    with file.open("w") as out:
        put(out, {"meters": [plain(one.metered, beside) for one in held]})
        out.flush()
        say(RESTING if any(quantity.name in (ENERGY, *POWERS) for one in held for quantity in one.metered.quantities)
            else READY)
        if any(one.opened for one in held):
            read_on(out, held, [meter.period for meter in meters])
        for one in held:
            one.close()
        put(out, {"meters": [plain(one.metered, beside) for one in held]})


def read_on(out: IO[str], held: list[Held], periods: list[float]) -> None:
    """Read each meter every so often, until standard input ends or all are lost; what was missed is not made up for."""
    due = [time.monotonic()] * len(held)
    flushed = time.monotonic()
    while any(one.opened for one in held):
        for number, one in enumerate(held):
            now = time.monotonic()
            if one.opened is None or now < due[number]:
                continue
            values = one.read()
            due[number] = max(due[number] + periods[number], time.monotonic())
            if values is not None:
                put(out, [round((now + time.monotonic()) / 2, 4), number, values])
        if time.monotonic() - flushed > FLUSH_SECONDS:
            out.flush()
            flushed = time.monotonic()
        open_ones = [at for at, one in zip(due, held, strict=True) if one.opened]
        if told_to_end(max(0.0, min(open_ones, default=0.0) - time.monotonic())):
            return


def told_to_end(seconds: float) -> bool:
    """Wait for so long, or until standard input ends; return whether it did."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def say(word: bytes) -> None:
    """Tell the program that started this one something, in a line."""
    sys.stdout.buffer.write(word + b"\n")
    sys.stdout.flush()


def put(out: IO[str], value: Any) -> None:
    """Write a line, all at once: readers may come in between."""
    out.write(json.dumps(value, separators=(",", ":")) + "\n")


def plain(metered: Metered, beside: dict[str, Any]) -> Any:
    """Return a meter as JSON, with how it was sampled: on which core alone, None if it shared the job's; or not really.
    """
    return to_plain(dataclasses.replace(metered, about={**metered.about, "sampler": beside}))
