"""From what a cell's process measured to a record with statistics and doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from dlcompare.core.data.stream import NEUTRAL
from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.disturbance import discard_disturbed, windows_that_count
from dlcompare.core.records.record import Throughput

from .request import IoJob
from .result import COLD, WARM, IoRecord, RankResult


def fold(kind: Kind, job: IoJob, ranks: Sequence[RankResult], about: Started) -> IoRecord:
    """Return the record of a cell whose process ended well; failed if samples came twice or with wrong labels."""
    rank = ranks[0]
    made: IoRecord = kind.outline(
        job, about, status="ok", windows=rank.windows, first=rank.first, second=rank.second, bytes=rank.bytes,
        files=rank.files, hypervisor=rank.hypervisor, ids=rank.ids, pixels=rank.pixels, settings=rank.settings,
        environment=rank.versions, rss_bytes=rank.rss_bytes)
    if reason := wrong_samples(job, rank):
        return dataclasses.replace(made, status="failed", reason=reason)
    made = discard_disturbed(made)
    counted = windows_that_count(made.windows)
    stall = sum(one.feed_seconds or 0.0 for one in counted) / sum(max(one.seconds) for one in counted)
    more = doubts.of_windows(counted) if job.model else ()
    return dataclasses.replace(
        made, throughput=Throughput.of(counted, made.unit), stall=stall if job.model else None,
        warnings=(*made.warnings, *more, *doubts.of_samples(job.skip, {}), *caveats(made)))


def wrong_samples(job: IoJob, rank: RankResult) -> str | None:
    """Return why a pipeline did not give the samples it was to give, or not in their order; None if it did."""
    ids = rank.ids
    if ids and job.pipeline == NEUTRAL and ids.neutral is False:
        return "the neutral pipeline gave its samples in another order than the seed's, so it is not what it is called"
    if ids is None or not (ids.twice or ids.mislabelled):
        return None
    return (f"the pipeline gave {ids.twice} samples twice in one pass and {ids.mislabelled} with another label than "
            "the data have, so its speed means nothing")


def caveats(record: IoRecord) -> Iterator[Caveat]:
    """Yield what is to be said of a cell that read the data twice."""
    first, second = record.first, record.second
    if first is None or second is None:
        return
    if first.resident is None:
        yield Caveat.of("residency unknown")
    elif first.resident > COLD:
        yield Caveat.of("not evicted", share=first.resident)
    if second.resident is not None and second.resident < WARM:
        yield Caveat.of("not warm", share=second.resident)
    if record.ids and record.ids.samples - record.ids.seen >= record.batch_per_worker:
        yield Caveat.of("samples dropped", seen=record.ids.seen, samples=record.ids.samples)
