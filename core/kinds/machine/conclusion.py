"""From the records of all probes to what is kept of the machine; a rate taken on a busy machine is refused."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dlcompare.core.kinds.kind import Run
from dlcompare.core.machine.measured import DISK, Measured, Rate, fingerprint, keep, known
from dlcompare.core.machine.system import system
from dlcompare.core.machine.topology import topology
from dlcompare.core.plan.plan import Plan
from dlcompare.core.records.circumstances import Circumstances, stamp
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.record import Record

from . import matrix
from .request import ALL, BUSY, IDLE, MEMORY, SORTS, WHOLE, MachineJob
from .result import MachineRecord

if TYPE_CHECKING:
    from . import Machine


def conclude(kind: Machine, plan: Plan, run: Run, records: Sequence[MachineRecord]) -> Iterator[Record]:
    """Yield the record of all that was found, having kept it for others to read; nothing that was disturbed is."""
    began = min((window.started for one in records for window in one.windows), default=time.time())
    seen = dict(system())
    before, wanted = known(seen), str(plan.asked.get("matrix", ALL))
    if before and plan.asked.get("again"):
        before = dataclasses.replace(before, rates=matrix.unasked(before.rates, wanted), idle_watts={}, absent={})
    kept = before.rates if before else ()
    products, lacking = matrix.rates(run, wanted, kept)
    idle = next((one for one in records if one.framework == IDLE and one.watts), None)
    rates = (*kept, *products, *(rate(one) for one in records if one.throughput and not one.disturbed))
    found = Measured(
        fingerprint=fingerprint(seen), measured=stamp(time.time()), seconds=time.time() - began, rates=rates,
        idle_watts=dict(idle.watts or {}) if idle and not idle.disturbed else before.idle_watts if before else {},
        absent={**absent(records), **(matrix.still_lacking(before.absent, rates) if before else {}), **lacking},
        topology=topology(), versions={one.by: one.version for one in rates if one.version})
    if rates:
        keep(found)
    job = MachineJob(probe=WHOLE)
    yield kind.outline(job, Circumstances(run=run.folder.name, system=seen, started=began), status="ok",
                       measured=found, disturbed=BUSY in found.absent.values())


def rate(record: MachineRecord) -> Rate:
    """Return what a record's windows amount to."""
    windows = windows_that_count(record.windows)
    what, name = SORTS.get(record.framework) or (DISK, "lukewarm" if record.state else "cold")
    speed = record.throughput
    assert speed
    return Rate(what, name, speed.value, speed.low, speed.high, max(one.rate for one in windows), len(windows),
                record.unit, record.by, record.version, "cuda" if record.framework.startswith("gpu-") else "cpu",
                record.threads, record.size)


def absent(records: Sequence[MachineRecord]) -> dict[str, str]:
    """Return why what is not among the rates is not, by what it would be; those of one reason together."""
    found: dict[str, list[str]] = {}
    for one in records:
        if one.status != "ok" or one.disturbed:
            found.setdefault(BUSY if one.disturbed else str(one.reason), []).append(spoken(one))
    return {", ".join(names): reason for reason, names in found.items()}


def spoken(record: MachineRecord) -> str:
    """Return what people call a probe's rate."""
    what, name = SORTS.get(record.framework, (DISK, "cold") if record.framework != IDLE else ("power", "idle"))
    with_threads = f" with {record.job['threads']} threads" if record.framework == MEMORY else ""
    return f"{what}: {name}{with_threads}"
