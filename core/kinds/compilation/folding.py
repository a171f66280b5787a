"""A record of what the compiler said: one process speaks for all devices."""

from __future__ import annotations

from collections.abc import Sequence

from dlcompare.core.kinds.kind import Kind, Started

from .request import CompilationJob
from .result import CompilationRecord, RankResult


def fold(kind: Kind, job: CompilationJob, ranks: Sequence[RankResult], about: Started) -> CompilationRecord:
    """Return the record of a job that was compiled."""
    record: CompilationRecord = kind.outline(job, about, status="ok", compiled=ranks[0].compiled)
    return record
