"""Fold what every rank measured into one record, or say why the ranks do not belong together.

The slowest rank defines a step: a window's throughput is what all ranks did over the slowest one's time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dlcompare.core.conformance import certificate
from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import cost
from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.machine.collectives import line_of
from dlcompare.core.machine.measured import known, spoken
from dlcompare.core.machine.peaks import peak_flops
from dlcompare.core.plugins.collectives import ALL_REDUCE
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records import disturbance, doubts, stats
from dlcompare.core.records.bounds import Bounds, Trained, bounds_of
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.records.record import NOT_KEPT, Json, Record, Window
from dlcompare.core.variables import WEIGHTS

from . import delivery
from .result import LossPoint, RankResult, RankWindow, TrainingRecord, Warmup, beyond_physics, divergence

CLOCK = 1e-3  # times gathered through a framework's all-reduce are float32, and clocks are read one after another
ONE_FOR_ALL = ("params_sha256", "sample_order_sha256", "passed_over", "settings", "versions")
T = TypeVar("T", bound=TrainingRecord)


@dataclass(frozen=True)
class Known:
    """What the parent knows of a network and its device besides what the ranks say; see :class:`TrainingRecord`.

    ``peak`` is the device's published peak FLOP/s, None if unknown; ``bounds`` what this machine was measured to allow.
    """

    parameters: int
    multiply_adds: int
    image_size: int | None = None
    peak: float | None = None
    bounds: Bounds | None = None
    launch: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # fields of a kind's own record


def fold(kind: Kind, job: Job, ranks: Sequence[RankResult], about: Started) -> TrainingRecord:
    """Return the record of a job whose workers all ended well."""
    return with_parameters(make_record(partial(kind.outline, job, about), job, ranks, look_up(job, ranks, about),
                                       processes=kind.results(job)), about.folder)


def with_parameters(record: T, folder: Path) -> T:
    """Return a record with a caveat if trained parameters were to be kept beside it and could not be written."""
    if record.trained_sha256 is None or (folder / WEIGHTS).is_file():
        return record
    lost = Caveat.of(NOT_KEPT, what="the trained parameters",
                     error="the log says why; mend that, and train again without --resume")
    return dataclasses.replace(record, warnings=(*record.warnings, lost))


def make_record(outline: Callable[..., T], job: Job, ranks: Sequence[RankResult], known: Known, *, processes: int) -> T:
    """Return the record of a job whose workers all ended well.

    ``outline`` makes a record of fields. The record is ``failed``, with the reason, when the ranks disagree, when a
    loss is not finite, or when the result is faster than the peak.

    Raises:
        ValueError: a rank's result is missing or there is one too many.
    """
    ranks = in_order(job, ranks, processes=processes)
    about = {"parameters": known.parameters, "multiply_adds": known.multiply_adds,
             **({"image_size": known.image_size} if known.image_size else {}), "bounds": known.bounds, **known.more}
    if reason := disagreement(job, ranks):
        return outline(status="failed", reason=reason, **about)
    raw = {**combine(ranks), **delivery.told(job, ranks)}
    if known.launch is not None:
        raw["startup"] = {"launch": known.launch, **raw["startup"]}
    record = disturbance.discard_disturbed(outline(status="ok", **about, **raw))
    if reason := divergence(record.loss):
        return dataclasses.replace(record, status="failed", reason=reason)
    return with_statistics(record, ranks, known)


def look_up(job: Job, ranks: Sequence[RankResult], about: Circumstances, **more: Any) -> Known:
    """Return what this program knows of a job's network, device and certificate, and of this machine."""
    graph = plugins().model(job.model).graph(job.image_size, job.classes)
    total, image = cost(graph), graph.inputs.get("image")
    return Known(total.parameters, total.multiply_adds, image.shape[-1] if image else None,
                 peak_flops(about.system, job.device, job.precision, devices=job.workers),
                 find_bounds(graph, job, ranks, about), about.launch,
                 {**certificate.find(job, ranks[0].versions), **more})


def find_bounds(graph: Graph, job: Job, ranks: Sequence[RankResult], about: Circumstances) -> Bounds:
    """Return what bounds a job on this machine; the slowest process's input is that of all."""
    rates = [rank.feed_rate for rank in ranks if rank.feed_rate]
    trained = Trained(job.device, job.precision, job.workers, job.threads, job.batch, job.framework, ranks[0].versions)
    line = line_of(about.system, job.framework, spoken(ranks[0].versions), job.device, ALL_REDUCE, job.workers,
                   job.threads)
    return bounds_of(graph, trained, known(about.system), min(rates) * len(ranks) if rates else None,
                     line if job.workers > 1 else None)


def with_statistics(record: T, ranks: Sequence[RankResult], known: Known) -> T:
    """Return a record with its statistics; failed if it cannot be true."""
    windows = disturbance.windows_that_count(record.windows)
    found = record.derived(windows)
    reason = beyond_physics(found["flops_per_second"], known.peak)
    if reason is None and record.bounds:
        reason = record.bounds.refutation(found["throughput"].value)
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason)
    return dataclasses.replace(record, **found, warnings=(*record.warnings, *caveats(record, windows, ranks)))


def in_order(job: Job, ranks: Sequence[RankResult], *, processes: int) -> list[RankResult]:
    """Return the results by rank. Raises ValueError unless there is exactly one for each process of the job."""
    have, want = sorted(result.rank for result in ranks), list(range(processes))
    if have != want:
        raise ValueError(f"{job.id}: there are results of ranks {have}, but {processes} processes write {want}; "
                         "a worker ended without writing, or the processes did not join one group")
    return sorted(ranks, key=lambda result: result.rank)


def disagreement(job: Job, ranks: Sequence[RankResult]) -> str | None:
    """Return why these results, in rank order, cannot be of one data-parallel run; None if they can."""
    first = ranks[0]
    for other in ranks:
        if other.world != len(ranks):
            return (f"rank {other.rank} trained in a group of {other.world}, not of {len(ranks)}: "
                    "the workers did not join one group")
        for name in ONE_FOR_ALL:
            if getattr(other, name) != getattr(first, name):
                return f"the ranks disagree on {_difference(name, first, other)}"
        for name in ("windows", "losses", "apart"):
            if _steps(getattr(other, name)) != _steps(getattr(first, name)):
                return f"the ranks disagree on {name}: rank 0 and rank {other.rank} stopped the clock at other steps"
    return delivery.wrong_samples(ranks) or _bad_window(ranks)


def _difference(name: str, first: RankResult, other: RankResult) -> str:
    one, two = (value.flat() if isinstance(value, Choices) else value for value in (
        getattr(first, name), getattr(other, name)))
    if isinstance(one, dict):
        key = next(k for k in [*one, *two] if one.get(k, ...) != two.get(k, ...))
        name, one, two = f"{name} {key!r}", one.get(key), two.get(key)
    return f"{name}: {one!r} on rank 0, {two!r} on rank {other.rank}"


def _steps(items: Iterable[Any]) -> list[tuple[int, int | None]]:
    return [(item.step, getattr(item, "steps", None)) for item in items]


def _bad_window(ranks: Sequence[RankResult]) -> str | None:
    if not ranks[0].windows:
        return "no window was measured"
    for number in range(len(ranks[0].windows)):
        own = [result.windows[number].seconds for result in ranks]
        if not all(stats.is_finite(seconds) and seconds > 0 for seconds in own):
            return f"window {number} took {own} s (by rank): the clock is broken"
        for result in ranks:
            peers = result.windows[number].peers
            if not _alike(peers, own):
                return (f"window {number}: rank {result.rank} heard that the ranks took {list(peers)} s, but they "
                        f"wrote {own} s: the all-reduce is broken, or these files are of several runs")
    return None


def _alike(heard: Sequence[float | None], wrote: Sequence[float | None]) -> bool:
    return len(heard) == len(wrote) and all(
        stats.is_finite(a) and stats.is_finite(b) and math.isclose(a, b, rel_tol=CLOCK, abs_tol=CLOCK)
        for a, b in zip(heard, wrote, strict=True))


def combine(ranks: Sequence[RankResult]) -> Json:
    """Return the fields of a record that hold what all ranks measured."""
    first = ranks[0]
    peaks = [result.peak_bytes for result in ranks if result.peak_bytes is not None]
    digests = "".join(result.first_batch_sha256 for result in ranks)
    warmup = Warmup.of(first.warmup, settled=all(result.warmup_settled for result in ranks))
    return {
        "windows": tuple(window(parts, ranks) for parts in zip(*(one.windows for one in ranks), strict=True)),
        "apart": tuple(window(parts, ranks) for parts in zip(*(one.apart for one in ranks), strict=True)),
        "warmup": warmup,
        "discarded": (Caveat.of("warm-up steps", steps=warmup.steps, seconds=warmup.seconds),) if first.warmup else (),
        "loss": tuple(LossPoint(item.step, mean([r.losses[i].loss for r in ranks], ranks))
                      for i, item in enumerate(first.losses)),
        "peak_bytes": max(peaks, default=None),
        "rss_bytes": max(result.rss_bytes for result in ranks),
        "startup": {key: max(r.startup.get(key, 0.0) for r in ranks) for key in first.startup},
        "params_sha256": first.params_sha256,
        "trained_sha256": first.trained_sha256,
        "sample_order_sha256": first.sample_order_sha256,
        "first_batch_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "environment": first.versions,
        "settings": first.settings,
        "meters": first.meters,
        "page_cache": first.page_cache,
    }


def window(parts: Sequence[RankWindow], ranks: Sequence[RankResult]) -> Window:
    """Return one window of all ranks, of each of which it has one part."""
    first = parts[0]
    return Window(
        step=first.step, steps=first.steps, samples=first.steps * sum(result.samples_per_step for result in ranks),
        seconds=tuple(part.seconds or 0.0 for part in parts), loss=mean([part.loss for part in parts], ranks),
        started=min(part.started for part in parts), feed_seconds=max(part.feed_seconds for part in parts),
        foreign_cores=next((part.foreign_cores for part in parts if part.foreign_cores is not None), None),
        throttled=next((part.throttled for part in parts if part.throttled is not None), None),
        paused=max((part.paused for part in parts if part.paused is not None), default=None),
        clock=first.clock, joules=first.joules, counted=counted(parts, own_keys(ranks)))


def own_keys(ranks: Sequence[RankResult]) -> set[str]:
    """Return the keys of what each rank reads of its own process alone."""
    return {one.key for result in ranks for meter in result.meters for one in meter.quantities if one.own}


def counted(parts: Sequence[RankWindow], own: set[str]) -> dict[str, float]:
    """Return what counters of the machine grew by, as rank 0 read them, and the sums of those of each process.

    A sum that lacks a rank would be a part that looks like the whole, so it is left out.
    """
    found = {key: value for key, value in parts[0].counted.items() if key not in own}
    whole = {key for key in own if all(key in part.counted for part in parts)}
    return {**found, **{key: sum(part.counted[key] for part in parts) for key in sorted(whole)}}


def mean(losses: Sequence[float | None], ranks: Sequence[RankResult]) -> float | None:
    """Return the mean over the global batch; None as soon as one rank's loss is not finite."""
    weights = [result.samples_per_step for result in ranks]
    finite = [loss * weight for loss, weight in zip(losses, weights, strict=True) if stats.is_finite(loss)]
    return sum(finite) / sum(weights) if len(finite) == len(weights) else None


def caveats(record: Record, windows: Sequence[Window], ranks: Sequence[RankResult]) -> tuple[Caveat, ...]:
    """Return what there is to say of a training record's windows and ranks."""
    steps = [item.seconds for item in ranks[0].warmup]
    settled = all(result.warmup_settled for result in ranks)
    more = (doubts.warm_up(steps, settled=settled), same_share(ranks), crowding(record), weights_in_part(ranks[0]),
            other_classes(record, ranks[0]))
    samples = doubts.of_samples(record.job.get("skip", ()), ranks[0].passed_over)
    return (*samples, *record.doubts(windows), *(one for one in more if one))


def crowding(record: Record) -> Caveat | None:
    """Return a caveat when a CPU job had more workers than cores."""
    cores = disturbance.cores(record.system)
    if record.device != "cpu" or cores is None or record.workers <= cores:
        return None
    return Caveat.of("crowded", workers=record.workers, cores=cores)


def weights_in_part(rank: RankResult) -> Caveat | None:
    """Return a caveat when a weights file held more than the network's parameters, or less."""
    if not rank.weights_unread and not rank.weights_drawn:
        return None
    return Caveat.of("weights", unread=list(rank.weights_unread), drawn=list(rank.weights_drawn))


def other_classes(record: Record, rank: RankResult) -> Caveat | None:
    """Return a caveat when the network tells another number of classes apart than the data have."""
    if rank.data_classes is None:
        return None
    network = record.job["classes"] or plugins().model(record.model).classes
    return None if network == rank.data_classes else Caveat.of("classes", network=network, data=rank.data_classes)


def same_share(ranks: Sequence[RankResult]) -> Caveat | None:
    """Return a caveat when several ranks read the same first batch."""
    if len({result.first_batch_sha256 for result in ranks}) == len(ranks):
        return None
    return Caveat.of("same first batch")

