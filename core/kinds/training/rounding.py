"""What rounding alone does to the losses of a network at a learning rate: the same steps from parameters a few
roundings away.

It is tried where losses of several frameworks part further than they may, with the fastest that is verified, and kept
in the cache folder for the next run of the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.files import cache_root, read_cached, write_cached
from dlcompare.core.judging.trajectory import trajectory
from dlcompare.core.kinds.kind import Run
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import Job

if TYPE_CHECKING:
    from .result import TrainingRecord

ROUNDING = "rounding"  # the folder of the runs, and of the cache
TWINS = 2
FURTHEST = 24  # step; warm-up, which records every loss, takes no more
AMPLITUDE = 8 * 2.0**-22  # as the noise of a trial of the reference, docs/semantics.md

Moved = dict[int, float]  # by step, how far the loss was moved at most


def losses_moved(run: Run, records: Sequence[TrainingRecord]) -> Moved | None:
    """Return how far rounding moves the losses of comparable records up to the step where these part; None if they
    do not part, or it could not be tried: what is not proved to compute the same is no witness.
    """
    found = trajectory(records)
    parted = found.parted if found and len({one.name for one in records}) > 1 else None
    proved = [one for one in records if one.verified and one.verified["passed"]]
    if parted is None or parted > FURTHEST or not proved:
        return None
    fastest = max(proved, key=lambda one: one.throughput.value if one.throughput else 0.0)
    job = job_of(fastest)
    place = kept(fastest, job, parted)
    moved = read_cached(place, as_moved, instead="it is tried again")
    if moved is None and (moved := try_twins(run, fastest, job, parted)):
        write_cached(place, json.dumps(moved))
    return moved


def as_moved(text: bytes) -> Moved:
    """Return the outcome as it was kept."""
    return {int(step): float(share) for step, share in json.loads(text).items()}


def job_of(record: TrainingRecord) -> Job:
    """Return the training that a record is of, also where it went on to an accuracy."""
    return Job(**{spec.name: record.job[spec.name] for spec in dataclasses.fields(Job) if spec.name in record.job})


def kept(record: TrainingRecord, job: Job, step: int) -> Path:
    """Return where the outcome is kept: under a hash of what decides the losses up to a step, as the record has it."""
    same = dataclasses.replace(job, framework="", execution=None, layout=None, threads=1, loaders=1, steps=None,
                               windows=1, window_seconds=1.0, warmup_steps=1, port=None, weights=None, save=False)
    start = f"{record.params_sha256} {record.sample_order_sha256} {record.first_batch_sha256}"
    digest = hashlib.sha256(f"{same.to_json()} {start} {step} {AMPLITUDE} {TWINS}".encode()).hexdigest()
    return cache_root() / ROUNDING / f"{digest[:16]}.json"


def try_twins(run: Run, record: TrainingRecord, job: Job, last: int) -> Moved | None:
    """Run a job again from parameters some roundings away, up to a step; None if that failed."""
    folder = run.folder / ROUNDING
    folder.mkdir(exist_ok=True)
    jobs = tuple(dataclasses.replace(job, weights=str(near(job, number, folder)), warmup_steps=last + 1, windows=1,
                                     steps=1, save=False) for number in range(TWINS))
    twins = [one.losses() for one in run.carry_out_beside(Plan(job.kind, jobs), ROUNDING) if one.status == "ok"]
    return distances(record.losses(), twins) if twins else None


def near(job: Job, number: int, folder: Path) -> Path:
    """Return a file of a job's initial parameters, each changed by at most the amplitude, relative to itself."""
    import numpy as np

    from dlcompare.core.graph.params import write_params
    from dlcompare.core.plugins.registry import plugins

    from .worker import parameters

    rng, path = np.random.default_rng(number), folder / f"parameters-{number}.safetensors"
    if not path.exists():
        params = parameters(job, plugins().model(job.model).graph(job.image_size, job.classes)).params
        write_params(path, {name: (value * (1 + AMPLITUDE * rng.uniform(-1, 1, value.shape))).astype(np.float32)
                            for name, value in params.items()})
    return path


def distances(losses: Mapping[int, float | None], twins: Sequence[Mapping[int, float | None]]) -> Moved:
    """Return how far the twins' losses are from a record's, at most, at each step that both have."""
    found: Moved = {}
    for twin in twins:
        for step, loss in twin.items():
            own = losses.get(step)
            if own is not None and loss is not None:
                found[step] = max(found.get(step, 0.0), abs(loss - own))
    return found
