"""From what a probe measured to a record with statistics and doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.meters.meter import Metered
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import FOREIGN, discard_disturbed, windows_that_count
from dlcompare.core.records.energy import in_use
from dlcompare.core.records.record import Window
from dlcompare.core.run.metered import sampled_beside, used

from .request import IDLE, MEMORY, MachineJob
from .result import MachineRecord, RankResult, at_rest


def fold(kind: Kind, job: MachineJob, ranks: Sequence[RankResult], about: Started) -> MachineRecord:
    """Return the record of a probe whose process ended well."""
    found = ranks[0]
    if found.absent:
        refused: MachineRecord = kind.outline(job, about, status="refused", reason=found.absent)
        return refused
    record: MachineRecord = discard_disturbed(kind.outline(
        job, about, status="ok", windows=found.windows, by=found.by, version=found.version, size=found.size,
        left_out=found.left_out, state=found.state, meters=found.meters,
        threads=job.threads if job.probe == MEMORY else None))
    sampled = sampled_beside(about.folder)
    record = left_alone(record, sampled, found)
    windows = windows_that_count(record.windows)
    if job.probe == IDLE:
        return idle(record, windows, sampled)
    return dataclasses.replace(record, **record.derived(windows),
                               warnings=(*record.warnings, *record.doubts(windows)))


def left_alone(record: MachineRecord, sampled: Sequence[Metered], found: RankResult) -> MachineRecord:
    """Return a record with how much others used its GPU, of a machine left alone all GPUs, and a caveat if they did."""
    devices, _ = used(sampled, [(found.gpu,) if found.gpu else None])
    shares = in_use(sampled, devices)
    if not shares:
        return record
    scope = max(shares, key=lambda one: shares[one])
    caveat = Caveat.of("gpu in use", scope=scope, share=shares[scope])
    return dataclasses.replace(record, gpu_use=shares[scope], warnings=(
        *record.warnings, *((caveat,) if shares[scope] > FOREIGN else ())))


def idle(record: MachineRecord, windows: Sequence[Window], sampled: Sequence[Metered]) -> MachineRecord:
    """Return the record of a machine left alone; refused where no meter tells what it takes.

    What was sampled comes into the record with the meters, and its watts then.
    """
    meters = (*record.meters, *sampled)
    if not at_rest(meters, windows):
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in meters if one.reason)
        return dataclasses.replace(record, status="refused", reason=f"no meter of energy can be read here ({reasons})",
                                   disturbed=False, warnings=())  # a quieter machine would have none either
    return dataclasses.replace(record, **record.derived(windows))
