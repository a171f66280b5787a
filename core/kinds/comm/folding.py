"""From what every rank measured to one record: the slowest rank's time of each call, and whether all were right."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.stats import median

from .result import CommRecord, Point, RankPoint, RankResult, caveats

WHAT = ("size", "in_place", "refused", "ended", "warmup", "checked")


def fold(kind: Kind, job: CollectiveJob, ranks: Sequence[RankResult], about: Started) -> CommRecord:
    """Return the record of a job whose processes all ended well: failed if a payload was wrong, refused if all was.

    Raises:
        ValueError: the ranks do not belong together.
    """
    ranks = sorted(ranks, key=lambda one: one.rank)
    check_together(job, ranks)
    first = ranks[0]
    points = tuple(point([one.points[place] for one in ranks]) for place in range(len(first.points)))
    startup = {name: max(one.startup.get(name, 0.0) for one in ranks) for name in first.startup}
    record: CommRecord = kind.outline(
        job, about, status="ok", how=plugins().backend(job.framework).offered_collectives[job.collective], sizes=points,
        settings=first.settings, environment=first.versions,
        rss_bytes=max(one.rss_bytes for one in ranks),
        startup={**({"launch": about.launch} if about.launch is not None else {}), **startup})
    record = dataclasses.replace(record, **record.derived(()))
    record = dataclasses.replace(record, warnings=(*record.warnings, *caveats(record)))
    if reason := record.refutation():
        return dataclasses.replace(record, status="failed", reason=reason)
    if points and all(one.refused for one in points):
        return dataclasses.replace(record, status="refused", reason=points[0].refused)
    return record


def check_together(job: CollectiveJob, ranks: Sequence[RankResult]) -> None:
    """Raise ValueError if results are not of one group that did the same."""
    have = [one.rank for one in ranks]
    if have != list(range(job.workers)) or any(one.world != job.workers for one in ranks):
        raise ValueError(f"there are results of ranks {have} in groups of {[one.world for one in ranks]}, and "
                         f"{job.workers} workers were to join one group")
    for other in ranks[1:]:
        for name in ("versions", "settings"):
            if getattr(other, name) != getattr(ranks[0], name):
                raise ValueError(f"the ranks disagree on {name}: {getattr(ranks[0], name)} on rank 0, "
                                 f"{getattr(other, name)} on rank {other.rank}")
        for one, two in zip(ranks[0].points, other.points, strict=True):
            if any(getattr(one, name) != getattr(two, name) for name in WHAT) or len(one.seconds) != len(two.seconds):
                raise ValueError(f"rank {other.rank} did otherwise than rank 0 at {one.size} bytes")


def point(parts: Sequence[RankPoint]) -> Point:
    """Return one size of all ranks; of payloads that came out wrong on several, the lowest rank's."""
    known = {spec.name: getattr(parts[0], spec.name) for spec in dataclasses.fields(parts[0]) if spec.name != "seconds"}
    paused = max((one.paused for one in parts if one.paused is not None), default=None)
    wrong = next((one.wrong for one in parts if one.wrong), None)
    slowest = tuple(round(1e6 * max(times), 2) for times in zip(*(one.seconds for one in parts), strict=True))
    by_rank = tuple(round(1e6 * median(one.seconds), 2) for one in parts if one.seconds)
    return Point(**{**known, "paused": paused, "wrong": wrong}, micros=slowest, rank_micros=by_rank)
