"""From the records of all probes to what is kept of the machine; a rate taken on a busy machine is refused."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dlcompare.core.kinds.kind import Run
from dlcompare.core.machine.measured import DISK, MATRIX, Measured, Rate, fingerprint, keep, known
from dlcompare.core.machine.system import system
from dlcompare.core.machine.topology import topology
from dlcompare.core.meters.meter import SERIES
from dlcompare.core.plan.plan import Plan
from dlcompare.core.records.circumstances import Circumstances, stamp
from dlcompare.core.records.disturbance import FOREIGN, windows_that_count
from dlcompare.core.records.record import Record

from . import matrix
from .request import AGAIN, ALL, BUSY, GPU_BUSY, IDLE, MEMORY, SORTS, WHOLE, MachineJob, again, was_busy
from .result import MachineRecord

if TYPE_CHECKING:
    from . import Machine

COLD, LUKEWARM = "cold", "lukewarm"
IDLENESS = "power: idle"


def conclude(kind: Machine, plan: Plan, run: Run, records: Sequence[MachineRecord]) -> Iterator[Record]:
    """Yield the record of all that was found, having kept it for others to read; nothing that was disturbed is.

    What is measured again and comes to nothing stays as it was known, and that is said.
    """
    began = min((window.started for one in records for window in one.windows), default=time.time())
    seen = dict(system())
    stored, wanted = known(seen) or Measured(fingerprint(seen), "", 0.0), str(plan.asked.get("matrix", ALL))
    before = stored
    if plan.asked.get("again"):
        before = dataclasses.replace(stored, rates=matrix.unasked(stored.rates, wanted), idle_watts={}, absent={})
    products, lacking = matrix.rates(run, wanted, before.rates)
    missing = {**reasons(records), **lacking}
    rates = (*before.rates, *products, *(rate(one) for one in records if one.throughput and not one.disturbed))
    idle = next((one for one in records if one.framework == IDLE and one.watts and not one.disturbed), None)
    watts = dict(idle.watts or {}) if idle else before.idle_watts
    old, said = staying(stored, rates, watts, missing)
    rates = (*rates, *old)
    lacks = {**together(missing, but=said), **matrix.still_lacking(before.absent, rates), **unmetered(idle), **said}
    carried = {what: why for what, why in before.absent.items() if why.startswith(AGAIN)}
    found = Measured(
        fingerprint=fingerprint(seen), measured=stamp(time.time()), seconds=time.time() - began, rates=rates,
        idle_watts=watts or (stored.idle_watts if IDLENESS in said else {}), absent={**carried, **lacks},
        topology=topology(), versions={one.by: one.version for one in rates if one.version})
    if rates:
        keep(found)
    yield kind.outline(MachineJob(probe=WHOLE), Circumstances(run=run.folder.name, system=seen, started=began),
                       status="ok", measured=found, disturbed=was_busy(lacks))


def staying(stored: Measured, rates: Sequence[Rate], watts: Mapping[str, float],
            missing: Mapping[str, str]) -> tuple[list[Rate], dict[str, str]]:
    """Return the rates known before that nothing new takes the place of, and what to say of each, by what it would be.
    """
    old: list[Rate] = []
    said: dict[str, str] = {}
    for one in stored.rates:
        names = [called(one)]
        if one.what == MATRIX:  # with one thread only the best with all is asked; without an environment nobody is
            names += [matrix.called(one.by, one.name, one.device, None), f"{MATRIX} on {one.device}"]
        name = next((each for each in names if each in missing), None)
        if one not in rates and name:
            old.append(one)
            said[name] = stored.absent.get(name, "")
    if stored.idle_watts and not watts and IDLENESS in missing:
        said[IDLENESS] = stored.absent.get(IDLENESS, "")
    return old, {name: why if why.startswith(AGAIN) else again(missing[name], stored.measured[:10])
                 for name, why in said.items()}


def rate(record: MachineRecord) -> Rate:
    """Return what a record's windows amount to."""
    windows = windows_that_count(record.windows)
    what, name = SORTS.get(record.framework) or (DISK, LUKEWARM if record.state else COLD)
    speed = record.throughput
    assert speed
    return Rate(what, name, speed.value, speed.low, speed.high, max(one.rate for one in windows), len(windows),
                record.unit, record.by, record.version, "cuda" if record.framework.startswith("gpu-") else "cpu",
                record.threads, record.size)


def reasons(records: Sequence[MachineRecord]) -> dict[str, str]:
    """Return why what is not among the rates is not, by what it would be."""
    return {spoken(one): str(one.reason) if one.status != "ok" else GPU_BUSY if quiet_but_for_its_gpu(one) else BUSY
            for one in records if one.status != "ok" or one.disturbed}


def quiet_but_for_its_gpu(record: MachineRecord) -> bool:
    """Return whether a probe was disturbed by nothing but what others did on its GPU."""
    return (record.gpu_use or 0.0) > FOREIGN and not any(one.kind == "disturbed" for one in record.warnings)


def together(missing: Mapping[str, str], but: Collection[str]) -> dict[str, str]:
    """Return reasons by what they are of, those of probes that have the same in one."""
    found: dict[str, list[str]] = {}
    for what, why in missing.items():
        if what not in but and not what.startswith(MATRIX):
            found.setdefault(why, []).append(what)
    return {**{", ".join(names): why for why, names in found.items()},
            **{what: why for what, why in missing.items() if what.startswith(MATRIX) and what not in but}}


def unmetered(idle: MachineRecord | None) -> dict[str, str]:
    """Return why no GPU has watts at rest where there are any, and other meters told theirs."""
    if idle is None or idle.job["accelerator"] == "cpu":
        return {}
    if any(scope in (idle.watts or {}) for one in idle.meters for scope in one.devices):
        return {}
    said = [f"{one.name}: {why}" for one in idle.meters if one.sort == SERIES and (why := one.reason or one.lost)]
    return {f"{IDLENESS}, of GPUs": "; ".join(said) or "no meter reads them"}


def spoken(record: MachineRecord) -> str:
    """Return what people call a probe's rate."""
    if record.framework == IDLE:
        return IDLENESS
    what, name = SORTS.get(record.framework, (DISK, COLD))
    return of_probe(what, name, record.job["threads"] if record.framework == MEMORY else None)


def called(one: Rate) -> str:
    """Return what people call a rate, as :func:`spoken` calls its probe."""
    if one.what == MATRIX:
        return matrix.called(one.by, one.name, one.device, 1 if one.threads == 1 and matrix.usable() > 1 else None)
    return of_probe(one.what, COLD if one.name == LUKEWARM else one.name, one.threads)


def of_probe(what: str, name: str, threads: int | None) -> str:
    return f"{what}: {name}{f' with {threads} threads' if threads else ''}"
