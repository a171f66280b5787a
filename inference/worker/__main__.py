"""One inference job in this process: ``python -m dlcompare.inference.worker job.json folder``.

One engine, one live session: threads of an idle one would spin and slow the others.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.files import finite, write
from dlcompare.core.launch.lifeline import Events, carry
from dlcompare.core.plugins.inference_job import InferenceJob

from .builds import built

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.engine import Session

RESULT, PREDICTIONS, CALIBRATION = "result.json", "predictions.npz", "calibration.npz"
Json = dict[str, Any]


@contextlib.contextmanager
def opened(job: InferenceJob, folder: Path, events: Events) -> Iterator[tuple[Session, Json]]:
    """Hold a session of the job's engine open, with how it came to be: build, cold start."""
    from dlcompare.core.plugins.registry import plugins

    engine = plugins().engine(job.engine)
    events("import")
    begin = time.perf_counter()
    engine.load()
    imported = time.perf_counter()
    events("build")
    build = built(engine, job, folder / "build")
    built_at = time.perf_counter()
    events("open")
    session = engine.open(job, build.folder)
    startup = {"import": imported - begin, "build": built_at - imported, "open": time.perf_counter() - built_at}
    try:
        yield session, {"build": build.as_plain(), "startup": startup}
    finally:
        session.close()


@contextlib.contextmanager
def dataset(job: InferenceJob) -> Iterator[Dataset]:
    """Hold the job's split of its data open."""
    from dlcompare.core.plugins.registry import plugins

    kind, argument = plugins().dataset(job.data)
    with contextlib.closing(kind.open(argument, job.inputs, seed=job.seed, train=job.train,
                                      loaders=job.loaders)) as found:
        yield found


def measure(job: InferenceJob, folder: Path, events: Events) -> Json:
    """Take windows, latencies and copies at one batch size, on one batch of the data."""
    from .measure import measure as take

    with dataset(job) as data:
        batch = data.batch(np.arange(job.batch) % data.size, epoch=0)
    with opened(job, folder, events) as (session, about):
        measured = take(session, batch, job, events)
        return about | {"measured": measured} | said(session)


def predict(job: InferenceJob, folder: Path, events: Events) -> Json:
    """Write the outputs for the job's samples, and their labels, in that order."""
    outputs: dict[str, list[np.ndarray]] = {}
    with dataset(job) as data, opened(job, folder, events) as (session, about):
        for batch in batches(job, data, events):
            session.run(session.place(batch))
            session.wait()
            labels = {f"label/{k}": batch[k] for k, spec in job.inputs.items() if spec.role in ("label", "position")}
            for name, value in {**{f"output/{k}": v for k, v in session.fetch().items()}, **labels}.items():
                outputs.setdefault(name, []).append(np.asarray(value))
        whole: Any = {name: np.concatenate(parts) for name, parts in outputs.items()}
        np.savez(folder / PREDICTIONS, **whole)
        return about | {"samples": len(job.samples)} | said(session)


def collect(job: InferenceJob, folder: Path, events: Events) -> Json:
    """Write the histograms of the job's tensors over its samples."""
    from dlcompare.inference.precision.histograms import Collector

    collector = Collector(job.tensors)
    begin = time.perf_counter()
    with dataset(job) as data, opened(job, folder, events) as (session, about):
        for number, batch in enumerate(batches(job, data, events)):
            session.run(session.place(batch))
            session.wait()
            ids = job.samples[number * job.batch:(number + 1) * job.batch]
            collector.add(session.fetch(), samples=ids)
        about_data = {"data": job.data, "train": job.train, "samples": list(job.samples), "seed": job.seed}
        collector.artifact({"sha256": job.network_sha256, "model": job.model, **about_data}).save(folder / CALIBRATION)
        return about | {"seconds": time.perf_counter() - begin} | said(session)


def batches(job: InferenceJob, data: Dataset, events: Events) -> Iterator[Arrays]:
    """Yield the job's samples in batches, the last one as short as it comes."""
    beyond = [index for index in job.samples if index >= data.size]
    if beyond:
        raise JobError(f"{job.data} has {data.size} samples in this split; sample {beyond[0]} does not exist")
    for begin in range(0, len(job.samples), job.batch):
        yield data.batch(np.array(job.samples[begin:begin + job.batch]), epoch=0)
        events(job.task, done=min(begin + job.batch, len(job.samples)), total=len(job.samples))


def scenario(job: InferenceJob, folder: Path, events: Events) -> Json:
    """Run one of MLPerf's scenarios."""
    from .mlperf import run as drive

    with dataset(job) as data, opened(job, folder, events) as (session, about):
        return about | {"scenario": drive(session, data, job, folder)} | said(session)


def probe(job: InferenceJob, folder: Path, events: Events) -> Json:
    """Return by layer of a file made for that which share of the exact sum the engine came to."""
    from dlcompare.inference.precision.saturation import shares

    with opened(job, folder, events) as (session, about):
        return about | {"shares": shares(session, job.inputs)} | said(session)


def said(session: Session) -> Json:
    """Return what a session says of itself, and what memory it came to."""
    ran = session.ran()
    return {"ran": {"precision": ran.precision, "layers": ran.layers, "left": list(ran.left)},
            "settings": session.settings(), "versions": session.versions(), "peak_bytes": session.peak_bytes(),
            "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def run(text: str, folder: Path, events: Events) -> None:
    """Do the job that a text of JSON describes, and write its result into the folder."""
    job = InferenceJob.from_json(text)
    task = {"measure": measure, "predict": predict, "collect": collect, "scenario": scenario, "probe": probe}[job.task]
    write(folder / RESULT, json.dumps(finite(task(job, folder, events)), indent=1, allow_nan=False))


if __name__ == "__main__":
    carry(sys.argv, run)
