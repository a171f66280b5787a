"""The messages of a real training step: a network is built and stepped, and its framework shows what it sends.

In processes of their own: one that has trained exchanges small messages slower for as long as it lives (Horovod's took
36 ms instead of 2.5).
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.data.feed import Feed
from dlcompare.core.data.order import Sampler
from dlcompare.core.files import write
from dlcompare.core.graph.params import initial_params
from dlcompare.core.plugins.collectives import CollectiveJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import to_plain
from dlcompare.core.worker.ranks import known_rank

from .preparation import MESSAGES
from .sizes import parse

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events


def observe(job: CollectiveJob, folder: Path, events: Events) -> None:
    """Step each model that the sizes name; rank 0, which some frameworks tell alone, leaves what was sent."""
    backend = plugins().backend(job.framework)
    events("import", **known_rank(backend))
    backend.load()
    found = {}
    for model in parse(job.sizes)[1]:
        training = job.training(model, next(iter(backend.executions)))
        graph = plugins().model(model).graph(job.image_size, None)
        events("build", **known_rank(backend))
        trainer = backend.trainer(graph, initial_params(graph, training.seed), training)
        events("messages", rank=trainer.rank, text=f"a step of {model}")
        kind, argument = plugins().dataset(training.data)
        dataset = open_dataset(kind, argument, graph.inputs, seed=training.seed, train=True, loaders=1)
        sampler = Sampler(dataset.size, seed=training.seed, rank=trainer.rank, world=trainer.world, batch=job.batch)
        with contextlib.closing(dataset), Feed(dataset, sampler, trainer.place) as feed:
            found[model] = [to_plain(one) for one in trainer.messages(next(feed))]
        if trainer.rank == 0:
            write(folder / MESSAGES, json.dumps(found))
        trainer.gather(0.0)  # nobody leaves, and is taken for dead, before that is written
        trainer.close()
