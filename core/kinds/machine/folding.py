"""From what a probe measured to a record with statistics and doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.records.disturbance import discard_disturbed, windows_that_count
from dlcompare.core.records.record import Throughput, Window

from .request import IDLE, MEMORY, MachineJob
from .result import MachineRecord, RankResult


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
    windows = windows_that_count(record.windows)
    if job.probe == IDLE:
        return idle(record, windows)
    return dataclasses.replace(record, throughput=Throughput.of(windows, record.unit),
                               warnings=(*record.warnings, *record.doubts(windows)))


def idle(record: MachineRecord, windows: Sequence[Window]) -> MachineRecord:
    """Return the record of a machine left alone: its watts by what a meter covers; refused where none does."""
    seconds = sum(max(window.seconds) for window in windows)
    scopes = dict.fromkeys(scope for window in windows for scope in window.joules)
    watts = {scope: sum(window.joules[scope] for window in windows) / seconds for scope in scopes
             if all(scope in window.joules for window in windows)}
    if not watts:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in record.meters if one.reason)
        return dataclasses.replace(record, status="refused", reason=f"no meter of energy can be read here ({reasons})",
                                   disturbed=False, warnings=())  # a quieter machine would have none either
    return dataclasses.replace(record, watts=watts)
