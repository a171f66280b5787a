"""Fold what every rank measured into one record, or say why the ranks do not belong together.

The slowest rank defines a step: a window's throughput is what all ranks did over the slowest one's time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlcompare.core.plugins.job import Job
from dlcompare.core.records import disturbance, stats
from dlcompare.core.records.record import Json, RankResult, Record, StepTime, Throughput, outline

CLOCK = 1e-3  # times gathered through a framework's all-reduce are float32, and clocks are read one after another
ONE_FOR_ALL = ("params_sha256", "sample_order_sha256", "settings", "versions")


def finished(job: Job, ranks: Sequence[RankResult], *, parameters: int, multiply_adds: int, system: Json, run: str,
             started: float, duration: float, verified: Json | None = None,
             verified_before: Json | None = None, log: str | None = None,
             dataset: str | None = None, image_size: int | None = None, peak: float | None = None,
             processes: int | None = None, launch: float | None = None) -> Record:
    """Return the record of a job whose workers all ended well.

    ``multiply_adds`` are those of one sample's forward pass; ``started`` is unix time, ``duration`` seconds; ``peak``
    the device's peak FLOP/s, None if unknown; ``processes`` is how many carried the job's workers, one each if None;
    ``launch`` seconds from the start of the launcher to that of the last worker. The record is ``failed``, with the
    reason, when the ranks disagree, when a loss is not finite, or when the result is faster than the peak.

    Raises:
        ValueError: a rank's result is missing or there is one too many.
    """
    ranks = in_order(job, ranks, processes=processes or job.workers)
    record = outline(job, status="ok", run=run, started=started, duration_s=duration, system=system, log=log,
                     verified=verified, verified_before=verified_before, dataset=dataset or job.data,
                     image_size=image_size or job.image_size, parameters=parameters, multiply_adds=multiply_adds)
    reason = disagreement(job, ranks)
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason)
    record = dataclasses.replace(record, **_raw(ranks))
    if launch is not None:
        record = dataclasses.replace(record, startup={"launch": launch, **record.startup})
    record = disturbance.settled(record)
    reason = stats.loss_warning([(item["step"], item["loss"]) for item in record.loss])
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason)
    reason = missed(record.target)
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason)
    windows = disturbance.counted(record.windows)
    rates = throughputs(windows)
    value = stats.median(rates)
    flops = training_flops(value, multiply_adds)
    reason = physics_warning(flops, peak)
    if reason:
        return dataclasses.replace(record, status="failed", reason=reason)
    return dataclasses.replace(record, throughput=_throughput(rates), step_time=_step_time(windows),
                               flops_per_second=flops, warnings=[*record.warnings, *_warnings(record, rates, ranks)])


def missed(target: Json | None) -> str | None:
    """Return why training to an accuracy failed; None if it did not, or was not asked for."""
    if target is None or target["reached"]:
        return None
    return (f"{target['quantity']} came to {target['value']:.4f} in {target['epochs']} epochs "
            f"({target['seconds']:.0f} s), short of {target['wanted']:g}; give it more --max-epochs, or another --lr "
            "or --schedule")


def training_flops(samples_per_second: float, multiply_adds: int) -> float:
    """Return implied FLOP/s: forward, gradient of inputs and of weights, two operations to a multiply-add."""
    return samples_per_second * multiply_adds * 3 * 2


def physics_warning(flops: float, peak: float | None) -> str | None:
    """Return why a rate of arithmetic cannot be true, given the device's peak FLOP/s; None if it can, or may."""
    if peak is None or flops <= peak:
        return None
    return (f"impossible: {flops / 1e9:.4g} GFLOP/s is above the device's peak of {peak / 1e9:.4g} GFLOP/s, "
            "so the clock stopped before the work did, or part of the work was skipped")


def throughputs(windows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return samples per second of each of a record's windows, over the slowest rank's time."""
    return [window["samples"] / max(window["seconds"]) for window in windows]


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
        for name in ("windows", "losses"):
            if _steps(getattr(other, name)) != _steps(getattr(first, name)):
                return f"the ranks disagree on {name}: rank 0 and rank {other.rank} stopped the clock at other steps"
    return _bad_window(ranks)


def _difference(name: str, first: RankResult, other: RankResult) -> str:
    one, two = getattr(first, name), getattr(other, name)
    if isinstance(one, dict):
        key = next(k for k in [*one, *two] if one.get(k, ...) != two.get(k, ...))
        name, one, two = f"{name} {key!r}", one.get(key), two.get(key)
    return f"{name}: {one!r} on rank 0, {two!r} on rank {other.rank}"


def _steps(items: Iterable[Mapping[str, Any]]) -> list[tuple[int, int | None]]:
    return [(item["step"], item.get("steps")) for item in items]


def _bad_window(ranks: Sequence[RankResult]) -> str | None:
    if not ranks[0].windows:
        return "no window was measured"
    for number in range(len(ranks[0].windows)):
        own = [result.windows[number]["seconds"] for result in ranks]
        if not all(stats.is_finite(seconds) and seconds > 0 for seconds in own):
            return f"window {number} took {own} s (by rank): the clock is broken"
        for result in ranks:
            peers = result.windows[number]["peers"]
            if not _alike(peers, own):
                return (f"window {number}: rank {result.rank} heard that the ranks took {peers} s, but they wrote "
                        f"{own} s: the all-reduce is broken, or these files are of several runs")
    return None


def _alike(heard: Sequence[float | None], wrote: Sequence[float]) -> bool:
    return len(heard) == len(wrote) and all(
        stats.is_finite(a) and math.isclose(a, b, rel_tol=CLOCK, abs_tol=CLOCK)
        for a, b in zip(heard, wrote, strict=True))


def _raw(ranks: Sequence[RankResult]) -> Json:
    first = ranks[0]
    peaks = [result.peak_bytes for result in ranks if result.peak_bytes is not None]
    digests = "".join(result.first_batch_sha256 for result in ranks)
    warmup = {"steps": len(first.warmup), "seconds": sum(item["seconds"] for item in first.warmup),
              "settled": all(result.warmup_settled for result in ranks), "series": first.warmup}
    return {
        "windows": [_window(number, ranks) for number in range(len(first.windows))],
        "warmup": warmup,
        "discarded": [f"{warmup['steps']} warm-up steps, {warmup['seconds']:.2f} s"] if first.warmup else [],
        "loss": [{"step": item["step"], "loss": _mean([r.losses[i]["loss"] for r in ranks], ranks)}
                 for i, item in enumerate(first.losses)],
        "peak_bytes": max(peaks, default=None),
        "rss_bytes": max(result.rss_bytes for result in ranks),
        "startup": {key: max(r.startup.get(key, 0.0) for r in ranks) for key in first.startup},
        "params_sha256": first.params_sha256,
        "trained_sha256": first.trained_sha256,
        "sample_order_sha256": first.sample_order_sha256,
        "first_batch_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "environment": first.versions,
        "settings": first.settings,
        "target": first.target,
    }


def _window(number: int, ranks: Sequence[RankResult]) -> Json:
    parts = [result.windows[number] for result in ranks]
    steps = parts[0]["steps"]
    return {"step": parts[0]["step"], "steps": steps,
            "samples": steps * sum(result.samples_per_step for result in ranks),
            "seconds": [part["seconds"] for part in parts],
            "loss": _mean([part["loss"] for part in parts], ranks),
            "started": min(part["started"] for part in parts),
            "feed_seconds": max(part["feed_seconds"] for part in parts),
            **{key: next((part[key] for part in parts if part.get(key) is not None), None)
               for key in ("foreign_cores", "throttled")}}


def _mean(losses: Sequence[float | None], ranks: Sequence[RankResult]) -> float | None:
    """Return the mean over the global batch; None as soon as one rank's loss is not finite."""
    weights = [result.samples_per_step for result in ranks]
    finite = [loss * weight for loss, weight in zip(losses, weights, strict=True) if stats.is_finite(loss)]
    return sum(finite) / sum(weights) if len(finite) == len(weights) else None


def _throughput(rates: Sequence[float]) -> Throughput:
    low, high = stats.bootstrap_interval(rates) if len(rates) > 1 else (None, None)
    return {"value": stats.median(rates), "unit": "samples/s", "low": low, "high": high}


def _step_time(windows: Sequence[Mapping[str, Any]]) -> StepTime:
    weights = [window["steps"] for window in windows]
    means = [max(window["seconds"]) / window["steps"] for window in windows]
    middle, p90, p99 = (stats.percentile(means, q, weights=weights) for q in (50, 90, 99))
    return {"median": middle, "p90": p90, "p99": p99, "unit": "s", "n": len(windows)}


def _warnings(record: Record, rates: Sequence[float], ranks: Sequence[RankResult]) -> list[str]:
    windows = disturbance.counted(record.windows)
    seconds = [max(window["seconds"]) for window in windows]
    waited = [window["feed_seconds"] for window in windows]
    steps = [item["seconds"] for item in ranks[0].warmup]
    settled = all(result.warmup_settled for result in ranks)
    said = (stats.short_warning(seconds), stats.spread_warning(rates), stats.drift_warning(rates),
            stats.stall_warning(seconds, waited), stats.warmup_warning(steps, settled=settled), _same_share(ranks),
            crowded(record))
    return [sentence for sentence in said if sentence]


def crowded(record: Record) -> str | None:
    """Return a sentence when a CPU job had more workers than cores."""
    cores = disturbance.cores(record.system)
    if record.device != "cpu" or cores is None or record.workers <= cores:
        return None
    return (f"{record.workers} workers shared {cores:g} usable cores, so each waited for the others' turns; this is "
            "not how that many machines would do")


def _same_share(ranks: Sequence[RankResult]) -> str | None:
    if len({result.first_batch_sha256 for result in ranks}) == len(ranks):
        return None
    return "several ranks read the same first batch, so the data may not be sharded"
