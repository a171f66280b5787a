"""What was read beside a job, put into its record: whose devices they were, what it spent, what there is to doubt."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.launch import sampling
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records import energy
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.record import R, Record
from dlcompare.core.variables import SAMPLES

from .energy_doubts import doubts

HOTTER = 5.0  # degrees Celsius above the coolest start of the run: some hundredths of the power are leakage by then
PCI = re.compile(r"(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])$")


def with_meters(record: R, ranks: Sequence[Any], folder: Path, others: Sequence[Record] = ()) -> R:
    """Return a record with what meters read beside its job; ``others`` are those of the run so far."""
    sampled = sampled_beside(folder)
    if not sampled and not record.meters:
        return record
    devices, caveats = used(sampled, [getattr(rank, "devices", None) for rank in ranks])
    windows = windows_that_count(record.windows)
    record = dataclasses.replace(record, meters=(*record.meters, *map(nameless, sampled)), devices=devices)
    if windows and record.status == "ok":
        record = dataclasses.replace(record, **record.derived(windows))
    found = doubts(record.meters, devices, *record.metered(windows))
    unknown = caveats if windows else []  # a job that is not timed has no joules to miss
    return dataclasses.replace(record, warnings=(*record.warnings, *unknown, *found, *hot_start(record, others)))


def sampled_beside(folder: Path) -> tuple[Metered, ...]:
    """Return what meters read beside the job of a folder. A damaged file raises nothing: its sampler was lost."""
    try:
        return sampling.read(folder / SAMPLES)
    except (OSError, UsageError, ValueError, LookupError, TypeError) as error:
        return (Metered("sampler", "series", lost=f"its file cannot be read: {error}"),)


def used(sampled: Sequence[Metered], ranks: Sequence[tuple[str, ...] | None]) -> tuple[Any, list[Caveat]]:
    """Return the scopes of each rank's devices, and a caveat where they are not all known: then none is.

    A job that cannot say which device it has has the only one, if there is but one and it is one process.
    """
    listed = [(name, scope) for meter in sampled for scope, names in meter.devices.items() for name in names]
    known = {plain(name): scope for name, scope in listed}
    scopes = sorted(set(known.values()))
    if not scopes:
        return (), []
    if len(ranks) == len(scopes) == 1 and ranks[0] is None:
        return ((scopes[0],),), []
    if None in ranks:
        return (), [Caveat.of("devices unknown", ranks=[number for number, one in enumerate(ranks) if one is None])]
    names = [[plain(name) for name in rank or ()] for rank in ranks]
    every = {name for rank in names for name in rank}
    if strange := every - known.keys():
        return (), [Caveat.of("devices unmetered", missing=len(strange), devices=len(every))]
    parts = sorted({scope for name, scope in listed if name.startswith("MIG-") and plain(name) in every})
    shared = [Caveat.of("part of a GPU", scopes=parts)] if parts else []
    return tuple(tuple(dict.fromkeys(known[name] for name in rank)) for rank in names), shared


def plain(name: str) -> str:
    """Return a device's name as all spell it alike: a UUID without its prefix, a PCI address of four digits' domain."""
    bare = name.strip().lower().removeprefix("gpu-").removeprefix("mig-")
    return PCI.sub(r"\1", bare)


def nameless(metered: Metered) -> Metered:
    """Return a meter less the names that tell one machine's devices from another's."""
    return dataclasses.replace(metered, devices=dict.fromkeys(metered.devices, ()))


def hot_start(record: Record, others: Sequence[Record]) -> list[Caveat]:
    """Return a caveat for a device that began hotter than the coolest start of the run: it takes more power for that.
    """
    found = []
    before: dict[str, float] = {}
    for other in others:
        for scope, degrees in energy.temperatures(other.meters, other.devices).items():
            before[scope] = min(degrees, before.get(scope, degrees))
    for scope, degrees in energy.temperatures(record.meters, record.devices).items():
        if degrees - before.get(scope, degrees) > HOTTER:
            found.append(Caveat.of("hot start", scope=scope, degrees=degrees, coolest=before[scope], bound=HOTTER))
    return found
