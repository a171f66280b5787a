"""A network trained on a form of data for a few windows, to see how long it waits for input."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.data.feed import StreamFeed
from dlcompare.core.data.order import Sampler
from dlcompare.core.graph.params import initial_params
from dlcompare.core.kinds.training.loop import Loop
from dlcompare.core.kinds.training.result import RankWindow
from dlcompare.core.kinds.training.worker import build_trainer, fed, own_stream
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Window
from dlcompare.core.worker.ranks import resident_bytes

from .cold import files_of, hypervisor, size, source_for
from .request import IoJob
from .result import RankResult
from .samples import checked

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events


def train(job: IoJob, events: Events) -> RankResult:
    """Train under the window protocol and return the windows."""
    asked = job.training()
    graph = plugins().model(asked.model).graph(asked.image_size, asked.classes)
    trainer = build_trainer(asked, graph, initial_params(graph, asked.seed), events, [time.perf_counter()])
    kind, argument = plugins().dataset(asked.data)
    dataset = open_dataset(kind, argument, graph.inputs, seed=asked.seed, train=True, loaders=asked.loaders,
                           skip=asked.skip)
    sampler = Sampler(dataset.size, seed=asked.seed, rank=0, world=1, batch=asked.batch)
    stream = own_stream(asked, graph, trainer, asked.batch)
    with contextlib.closing(stream or dataset), fed(dataset, sampler, stream, trainer, graph) as feed:
        loop = Loop(asked, trainer, feed, events)
        loop.warm_up()
        loop.measure()
    files = files_of(source_for(job))
    told = {**trainer.settings(), **(stream.settings() if stream else {})}
    found = RankResult(windows=tuple(window(one, asked.batch) for one in loop.windows), files=len(files),
                       bytes=size(files), hypervisor=hypervisor(),
                       settings=Choices.of(told), versions=trainer.versions(), rss_bytes=resident_bytes(),
                       ids=checked(list(feed.given), feed.stream.source) if isinstance(feed, StreamFeed) else None)
    trainer.close()
    return found


def window(one: RankWindow, batch: int) -> Window:
    """Return a window as a record has it."""
    return Window(steps=one.steps, samples=one.steps * batch, seconds=(one.seconds or 0.0,), started=one.started,
                  step=one.step, loss=one.loss, feed_seconds=one.feed_seconds, foreign_cores=one.foreign_cores,
                  throttled=one.throttled, paused=one.paused)
