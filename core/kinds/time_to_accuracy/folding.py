"""Fold the ranks of a job with a target as those of training, and say whether the target was missed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.kinds.training.folding import look_up, make_record, with_parameters

from .request import TargetJob
from .result import TargetRankResult, TargetRecord, shortfall


def fold(kind: Kind, job: TargetJob, ranks: Sequence[TargetRankResult], about: Started) -> TargetRecord:
    """Return the record of a job whose workers all ended well; ``failed`` if they did not reach the target."""
    target = ranks[0].target
    record: TargetRecord = make_record(partial(kind.outline, job, about), job, ranks,
                                    look_up(job, ranks, about, target=target), processes=kind.results(job))
    reason = shortfall(target) if record.status == "ok" else None
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason, throughput=None)
    return with_parameters(record, about.folder)
