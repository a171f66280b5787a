"""From what a toy's process measured to a record with statistics and doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import discard_disturbed, windows_that_count
from dlcompare.core.records.record import Throughput

from .request import ToyJob
from .result import RankResult, ToyRecord

CACHE = 64  # MB: less than that may never reach the memory


def fold(kind: Kind, job: ToyJob, ranks: Sequence[RankResult], about: Started) -> ToyRecord:
    """Return the record of a job whose one process ended well."""
    record: ToyRecord = discard_disturbed(kind.outline(job, about, status="ok", windows=ranks[0].windows))
    windows = windows_that_count(record.windows)
    small = [Caveat.of("toy cache", megabytes=job.megabytes)] if job.megabytes < CACHE else []
    return dataclasses.replace(record, throughput=Throughput.of(windows, record.unit),
                               warnings=(*record.warnings, *doubts.of_windows(windows), *small))
