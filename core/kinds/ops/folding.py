"""From what a process timed to a record: windows that were disturbed are marked, and the rest is arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.machine.measured import Rate, known, spoken
from dlcompare.core.records import doubts
from dlcompare.core.records.disturbance import cores, discard_disturbed, disturbance, windows_that_count
from dlcompare.core.records.record import Window

from .request import WHOLE, OpsJob
from .result import OpsRecord, RankResult, Timed


def fold(kind: Kind, job: OpsJob, ranks: Sequence[RankResult], about: Started) -> OpsRecord:
    """Return the record of a job whose process ended well."""
    (rank,) = ranks
    timed = tuple(marked(one, about.system) for one in rank.timed)
    outline: OpsRecord = kind.outline(
        job, about, status="ok", timed=timed, windows=steps_together(rank.timed), environment=rank.versions,
        settings=rank.settings, startup=rank.startup, peak_bytes=rank.peak_bytes, rss_bytes=rank.rss_bytes,
        peak=None if job.measures_peak else measured_peak(job, rank, about),
        meters=rank.meters)
    if reason := outline.refutation():
        return dataclasses.replace(outline, status="failed", reason=reason)
    record = discard_disturbed(outline)
    windows = windows_that_count(record.windows)
    return dataclasses.replace(record, **record.derived(windows),
                               warnings=(*record.warnings, *doubts.of_windows(windows)) if windows else record.warnings)


def measured_peak(job: OpsJob, rank: RankResult, about: Started) -> Rate | None:
    """Return the peak that was measured of this machine; None where the framework was not itself, in this version."""
    machine = known(about.system) if about.system else None
    peak = machine.peak_flops(job.device, job.precision, job.threads) if machine else None
    return peak if machine and peak and machine.bounds(peak, job.framework, spoken(rank.versions)) else None


def steps_together(timed: Sequence[Timed]) -> tuple[Window, ...]:
    """Return one window for each number: the network's whole step, or the steps of all operators together."""
    ran = [one for one in timed if one.of == WHOLE] or [one for one in timed if one.step]
    return tuple(together(several) for several in zip(*(one.step for one in ran), strict=False))


def together(windows: Sequence[Window]) -> Window:
    """Return windows as one: what they did, and what happened around them."""
    seconds = sum(max(one.seconds) for one in windows)
    foreign = [one.foreign_cores * max(one.seconds) for one in windows if one.foreign_cores is not None]
    if len(windows) == 1:
        return windows[0]
    return Window(
        steps=sum(one.steps for one in windows), samples=sum(one.samples for one in windows), seconds=(seconds,),
        started=windows[0].started, foreign_cores=sum(foreign) / seconds if foreign else None,
        throttled=_sum(one.throttled for one in windows), paused=_sum(one.paused for one in windows))


def _sum(values: Any) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def marked(one: Timed, system: Any) -> Timed:
    """Return what was timed with disturbed windows marked, unless most are."""
    return dataclasses.replace(one, forward=less_disturbed(one.forward, system), step=less_disturbed(one.step, system))


def less_disturbed(windows: tuple[Window, ...], system: Any) -> tuple[Window, ...]:
    reasons = [disturbance(window, cores(system)) for window in windows]
    if 2 * sum(map(bool, reasons)) > len(reasons):
        return windows
    return tuple(dataclasses.replace(window, discarded=reason) for window, reason in zip(windows, reasons, strict=True))
