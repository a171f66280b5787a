"""What one process of a training job does: build the network, warm up, take windows, leave the raw result."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.data.cached import cached
from dlcompare.core.data.checked import Checked, open_dataset
from dlcompare.core.data.feed import Feed, StreamFeed
from dlcompare.core.data.given import Given
from dlcompare.core.data.order import Sampler, order_sha256
from dlcompare.core.data.stream import NATIVE, Stream, source_of
from dlcompare.core.data.weights import Weighted, weights_among
from dlcompare.core.graph.params import Weights, initial_params, load_weights, params_sha256, write_params
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.variables import WEIGHTS
from dlcompare.core.worker.metering import metering
from dlcompare.core.worker.ranks import known_rank, leave, resident_bytes

from .loop import Loop
from .result import RankResult

if TYPE_CHECKING:
    from dlcompare.core.graph import Graph
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Arrays, Trainer

Measure = Callable[[Loop, "Graph", int], Any]  # the loop, the network, optimiser steps of an epoch


def work(job: Job, folder: Path, events: Events) -> None:
    """Train under the window protocol and leave this rank's raw result."""
    run_rank(job, folder, events, RankResult, lambda loop, graph, epoch_steps: loop.measure())


def run_rank(job: Job, folder: Path, events: Events, result: type[RankResult], measure: Measure) -> None:
    """Train as ``measure`` says once the loop is warm, and leave this rank's raw result, with what that returned."""
    times = [time.perf_counter()]
    meters = metering(job.device)
    graph = plugins().model(job.model).graph(job.image_size, job.classes)
    events("parameters")
    weights = parameters(job, graph)
    digest = params_sha256(weights.params)
    times.append(time.perf_counter())
    trainer = build_trainer(job, graph, weights.params, events, times)
    weights = dataclasses.replace(weights, params={})  # their memory is the trainer's now
    events("data", rank=trainer.rank)
    kind, argument = plugins().dataset(job.data)
    dataset = open_dataset(kind, argument, graph.inputs, seed=job.seed, train=True, loaders=job.loaders, skip=job.skip)
    processes = plugins().backend(job.framework).processes(job)  # each may drive several devices
    share = job.batch * job.workers // processes
    sampler = Sampler(dataset.size, seed=job.seed, rank=trainer.rank, world=trainer.world, batch=share)
    stream = own_stream(job, graph, trainer, share)
    with contextlib.closing(stream or dataset), fed(dataset, sampler, stream, trainer, graph) as feed:
        held = cached(dataset) if trainer.rank == 0 else None
        loop = Loop(job, trainer, feed, events, meters)
        settled = loop.warm_up()
        more = measure(loop, graph, sampler.steps) or {}
        apart = () if job.save else loop.take_apart()  # what is kept was not trained further
        page_cache = tuple(one for one in (held, held and cached(dataset)) if one)
        first_batch = str(feed.first_batch_sha256)  # known: warm-up has read it
        feed_rate = input_rate(feed, share)
    trained = trained_params(trainer, events) if job.save else {}
    leave(result(
        rank=trainer.rank, world=trainer.world, pid=os.getpid(), samples_per_step=share, feed_rate=feed_rate,
        warmup=tuple(loop.warmup), warmup_settled=settled, windows=tuple(loop.windows), losses=tuple(loop.losses),
        trained_sha256=params_sha256(trained) if job.save else None, params_sha256=digest,
        first_batch_sha256=first_batch, weights_unread=weights.unread, weights_drawn=weights.drawn,
        data_classes=kind.classes(argument) if kind.classes else None, startup=phases(times, loop),
        meters=meters.metered(), page_cache=page_cache, apart=apart, **said_of_input(job, dataset, feed),
        **said_by(trainer, stream), **more), folder, rank=trainer.rank)
    if job.save and trainer.rank == 0:  # large, so last: running statistics included, as rank 0 has them
        write_params(folder / WEIGHTS, trained)
    trainer.gather(0.0)  # nobody leaves, and is taken for dead, before all have written
    trainer.close()


def said_of_input(job: Job, dataset: Checked, feed: Feed) -> dict[str, Any]:
    """Return what a rank's result holds of the samples: their neutral order, what a native pipeline gave instead, and
    which files were passed over.
    """
    given = Given.of(list(feed.given), feed.stream.source) if isinstance(feed, StreamFeed) else None
    return {"passed_over": dict(dataset.passed_over), "given": given,
            "sample_order_sha256": order_sha256(dataset.size, job.seed, names=dataset.names)}


def said_by(trainer: Trainer, stream: Stream | None) -> dict[str, Any]:
    """Return what a rank's result holds of its framework and its process."""
    settings = Choices.of({**trainer.settings(), **(stream.settings() if stream else {})})
    return {"versions": trainer.versions(), "settings": settings, "peak_bytes": trainer.peak_bytes(),
            "rss_bytes": resident_bytes(), "devices": trainer.device_ids()}


def own_stream(job: Job, graph: Graph, trainer: Trainer, share: int) -> Stream | None:
    """Return the framework's own input pipeline, if the job asks for it."""
    if job.pipeline != NATIVE:
        return None
    source = source_of(job.data, graph.inputs, batch=share, loaders=job.loaders, seed=job.seed, rank=trainer.rank,
                       world=trainer.world)
    return plugins().backend(job.framework).pipeline(source)


def fed(dataset: Checked, sampler: Sampler, stream: Stream | None, trainer: Trainer, graph: Graph) -> Feed:
    """Return what feeds the training loop; where the loss is weighted, each rank reads whole batches to know their sum.
    """
    if stream:
        return StreamFeed(stream, trainer.place)
    if names := weights_among(graph.inputs):
        shares = Weighted(dataset, names, rank=sampler.rank, world=sampler.world)
        return Feed(shares, sampler.whole, trainer.place)
    return Feed(dataset, sampler, trainer.place)


def input_rate(feed: Feed, share: int) -> float | None:
    """Return the samples/s that this process's input alone would allow, read after all windows; None if none is read.

    A sample that cannot be read and that training did not come to costs this number alone.
    """
    with contextlib.suppress(Exception):
        batches = feed.alone()
        return None if batches is None else batches * share
    return None


def parameters(job: Job, graph: Graph) -> Weights:
    """Return the parameters a job starts from."""
    if job.weights:
        return load_weights(job.weights, graph, job.seed)
    return Weights(initial_params(graph, job.seed), unread=(), drawn=())


def build_trainer(job: Job, graph: Graph, params: Arrays, events: Events, times: list[float]) -> Trainer:
    """Import the framework and return its trainer; when each was done is added to ``times``."""
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    times.append(time.perf_counter())
    events("build", **known_rank(backend))
    trainer = backend.trainer(graph, params, job)
    times.append(time.perf_counter())
    return trainer


def phases(times: list[float], loop: Loop) -> dict[str, float]:
    """Return the seconds of each phase of the start."""
    begin, parameters_at, imported_at, built_at = times
    return {"parameters": parameters_at - begin, "import": imported_at - parameters_at,
            "build": built_at - imported_at, "first_step": loop.warmup[0].seconds}


def trained_params(trainer: Trainer, events: Events) -> Arrays:
    """Return the trained parameters, running statistics included."""
    events("save", rank=trainer.rank)
    return trainer.params()
