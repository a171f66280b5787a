"""What the process of an inference job does; one engine, one live session: an idle one's threads would slow it.

What a job's task is decides which of the functions below it is; each leaves the raw result of its rank.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.data.preprocess import Preprocessed
from dlcompare.core.errors import JobError
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.worker.metering import metering
from dlcompare.core.worker.ranks import leave, resident_bytes
from dlcompare.inference.cell.files import CALIBRATION, PREDICTIONS
from dlcompare.inference.cell.result import Ran, RankResult
from dlcompare.inference.worker.builds import find_or_build
from dlcompare.inference.worker.fixed_batch import any_batch

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.engine import Session


def work(job: InferenceJob, folder: Path, events: Events) -> None:
    """Do a job and leave its raw result."""
    tasks = {"measure": measure, "predict": predict, "collect": collect, "scenario": scenario, "probe": probe,
             "audit": predict, "trials": trials, "sensitivity": sensitivity}
    leave(tasks[job.task](job, folder, events), folder)


@contextlib.contextmanager
def session_of(job: InferenceJob, folder: Path, events: Events) -> Iterator[tuple[Session, partial[RankResult]]]:
    """Hold a session of the job's engine open; the second is the result, with how the session came to be."""
    engine = plugins().engine(job.engine)
    events("import")
    begin = time.perf_counter()
    engine.load()
    imported = time.perf_counter()
    events("build")
    build = find_or_build(engine, job, folder / "build")
    built_at = time.perf_counter()
    events("open")
    session = engine.open(job, build.folder)
    startup = {"import": imported - begin, "build": built_at - imported, "open": time.perf_counter() - built_at}
    try:
        yield any_batch(session, job), partial(RankResult, build=build.kept, startup=startup)
    finally:
        session.close()


@contextlib.contextmanager
def dataset(job: InferenceJob) -> Iterator[Dataset]:
    """Hold the job's split of its data open, read as evaluation does: calibration sees no random crops either."""
    kind, argument = plugins().dataset(job.data)
    how = job.preprocessing
    found = open_dataset(kind, argument, how.data_inputs(job.inputs), seed=job.seed, train=job.train,
                         loaders=job.loaders, skip=job.skip, **how.view)
    with contextlib.closing(found.unaugmented()) as plain:
        yield Preprocessed(plain, job.inputs, how, kind.pixels)


def measure(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Take windows, latencies and copies at one batch size, on one batch of the data."""
    from dlcompare.inference.worker.measure import measure as take

    meters = metering(job.device)
    with dataset(job) as data:
        batch = data.batch(np.arange(job.batch) % data.size, epoch=0)
    with session_of(job, folder, events) as (session, result):
        measured = take(session, batch, job, events, meters)
        return result(measured=measured, meters=meters.metered(), devices=session.device_ids(),
                      **about(session, data))


def predict(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Write the outputs for the job's samples, and their labels, in that order."""
    outputs: dict[str, list[np.ndarray]] = {}
    with dataset(job) as data, session_of(job, folder, events) as (session, result):
        for batch in batches(job, data, events):
            session.run(session.place(batch))
            session.wait()
            found = answers_of(session, job)
            labels = {f"label/{k}": batch[k] + job.label_offset for k, spec in job.inputs.items()
                      if spec.role in ("label", "position")}
            for name, value in {**{f"output/{k}": v for k, v in found.items()}, **labels}.items():
                outputs.setdefault(name, []).append(np.asarray(value))
        whole: Any = {name: np.concatenate(parts) for name, parts in outputs.items()}
        np.savez(folder / PREDICTIONS, **whole)
        return result(samples=len(job.samples), **about(session, data))


def answers_of(session: Session, job: InferenceJob) -> dict[str, np.ndarray]:
    """Return what a session has answered, by output; of a network of one's own those that are judged."""
    found = {name: np.atleast_1d(value) for name, value in session.fetch().items()
             if job.task != "predict" or name in job.outputs}
    check_answers(found, job)
    return found


def check_answers(found: Arrays, job: InferenceJob) -> None:
    """Raise JobError if an answer is NaN: it is then neither right nor wrong, and alike in every precision."""
    for name, value in found.items():
        if nan := int(np.isnan(value).sum()):
            raise JobError(f"output {name!r} holds {nan} NaN of {value.size} values in {job.precision}: the network's "
                           "numbers leave the range of floats. Look at its parameters, at what its inputs hold, and "
                           "whether it answers in FP32")


def collect(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Write the histograms of the job's tensors over its samples."""
    from dlcompare.inference.precision.histograms import Collector

    collector = Collector(job.tensors)
    begin = time.perf_counter()
    with dataset(job) as data, session_of(job, folder, events) as (session, result):
        for number, batch in enumerate(batches(job, data, events)):
            session.run(session.place(batch))
            session.wait()
            ids = job.samples[number * job.batch:(number + 1) * job.batch]
            collector.add(session.fetch(), samples=ids)
        about_data = {"data": job.data, "train": job.train, "samples": list(job.samples), "seed": job.seed}
        collector.artifact({"sha256": job.network_sha256, "model": job.model, **about_data}).save(folder / CALIBRATION)
        return result(seconds=time.perf_counter() - begin, **about(session, data))


def batches(job: InferenceJob, data: Dataset, events: Events) -> Iterator[Arrays]:
    """Yield the job's samples in batches, the last one as short as it comes."""
    beyond = [index for index in job.samples if index >= data.size]
    if beyond:
        raise JobError(f"{job.data} has {data.size} samples in this split; sample {beyond[0]} does not exist")
    for begin in range(0, len(job.samples), job.batch):
        yield data.batch(np.array(job.samples[begin:begin + job.batch]), epoch=0)
        events(job.task, done=min(begin + job.batch, len(job.samples)), total=len(job.samples))


def scenario(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Run one of MLPerf's scenarios."""
    from dlcompare.inference.worker.mlperf import run as drive

    with dataset(job) as data, session_of(job, folder, events) as (session, result):
        return result(scenario=drive(session, data, job, folder), **about(session, data))


def probe(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Return by layer of a file made for that which share of the exact sum the engine came to."""
    from dlcompare.inference.precision.saturation import shares

    with session_of(job, folder, events) as (session, result):
        return result(shares=shares(session, job.inputs), **about(session))


def trials(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Write what each of the job's files answers to the samples; one session at a time, and no build is kept."""
    found: dict[str, np.ndarray] = {}
    with dataset(job) as data:
        read = list(batches(job, data, events))
    for name, file in job.files.items():
        one = dataclasses.replace(job, file=file, sha256=None)
        with (tempfile.TemporaryDirectory(dir=folder) as scratch,
              session_of(one, Path(scratch), events) as (session, result)):
            found |= {f"{name}/{key}": value for key, value in outputs_of(session, read).items()}
            told = result(samples=len(job.samples), **about(session))
    whole: Any = found
    np.savez(folder / PREDICTIONS, **whole)
    return told


def sensitivity(job: InferenceJob, folder: Path, events: Events) -> RankResult:
    """Write what the network answers with nothing switched on, by the number 0, and with each switch by itself."""
    found: dict[str, np.ndarray] = {}
    with dataset(job) as data:
        read = list(batches(job, data, events))
    off = {name: np.zeros(1, np.float32) for name in job.tensors}
    with session_of(job, folder, events) as (session, result):
        for number, name in enumerate(("", *job.tensors)):
            switches = off | ({name: np.ones(1, np.float32)} if name else {})
            answered = outputs_of(session, ({**batch, **switches} for batch in read))
            found |= {f"output/{number}/{key}": value for key, value in answered.items()}
            events(job.task, done=number, total=len(job.tensors))
        whole: Any = found
        np.savez(folder / PREDICTIONS, **whole)
        return result(samples=len(job.samples), **about(session))


def outputs_of(session: Session, read: Iterable[Arrays]) -> dict[str, np.ndarray]:
    """Return what a session answers to some batches."""
    outputs: dict[str, list[np.ndarray]] = {}
    for batch in read:
        session.run(session.place(batch))
        session.wait()
        for name, value in session.fetch().items():
            outputs.setdefault(name, []).append(np.asarray(value))
    return {name: np.concatenate(parts) for name, parts in outputs.items()}


def about(session: Session, data: Dataset | None = None) -> dict[str, Any]:
    """Return what a session says of itself, what memory it came to, and what its data passed over."""
    ran = session.ran()
    return {"ran": Ran(ran.precision, ran.layers, tuple(ran.left)), "settings": Choices.of(session.settings()),
            "versions": session.versions(), "peak_bytes": session.peak_bytes(), "rss_bytes": resident_bytes(),
            "passed_over": dict(data.passed_over) if data else {}}
