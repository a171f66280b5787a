"""Training to an accuracy: after every epoch the network is examined on the test split, until it is good enough.

The clock runs from the first warm-up step to the end of the examination that is passed, as in MLPerf; examining is
part of it and also told apart. Epochs are made of windows of the ordinary protocol, so the throughput is known as well.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.kinds.training.loop import Loop
from dlcompare.core.kinds.training.worker import run_rank
from dlcompare.core.metrics.classification import accuracy
from dlcompare.core.plugins.registry import plugins

from .request import TargetJob, top1
from .result import Examination, Target, TargetRankResult

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.graph import Graph
    from dlcompare.core.launch.lifeline import Events
    from dlcompare.core.plugins.backend import Trainer

WINDOW_SECONDS = 20.0  # about; an epoch may take hours, and a job that reports nothing is given up
EVALUATION_BATCH = 64  # samples; they need no gradients, so what a step's batch fits into holds these too


def work(job: TargetJob, folder: Path, events: Events) -> None:
    """Train to the job's target and leave this rank's raw result."""
    def measure(loop: Loop, graph: Graph, epoch_steps: int) -> dict[str, Any]:
        label = next(name for name, declared in graph.inputs.items() if declared.role == "label")
        kind, argument = plugins().dataset(job.data)
        exam = open_dataset(kind, argument, graph.inputs, seed=job.seed, train=False, loaders=job.loaders,
                            skip=job.skip)
        return {"target": train_to_target(loop, job, exam, label=label, epoch_steps=epoch_steps)}

    run_rank(job, folder, events, TargetRankResult, measure)


def train_to_target(loop: Loop, job: TargetJob, exam: Dataset, *, label: str, epoch_steps: int) -> Target:
    """Train until the job's target or its last epoch; return what was reached and the curve. Collective.

    ``epoch_steps`` are optimiser steps.
    """
    wanted, curve, examining = top1(job), list[Examination](), 0.0
    with contextlib.closing(exam):
        first, longest = loop.steps // epoch_steps + 1, loop.filling(WINDOW_SECONDS)  # warm-up may have taken epochs
        for epoch in range(first, max(first, job.max_epochs) + 1):
            while left := epoch * epoch_steps - loop.steps:
                loop.take(min(left, longest))
            if loop.trainer.rank == 0:
                loop.events("examine", step=loop.steps)
            begin = time.perf_counter()
            shares = examine(loop.trainer, exam, label=label)
            examining += time.perf_counter() - begin
            curve.append(Examination(epoch, loop.steps, time.perf_counter() - loop.begun, loop.losses[-1].loss,
                                     **shares))
            if loop.trainer.rank == 0:
                loop.events("epoch", done=epoch, step=loop.steps, top1=shares["top1"])
            if shares["top1"] >= wanted:
                break
    joules = loop.meters.used(loop.charged, loop.meters.read()).joules
    last = curve[-1]
    return Target("top1", wanted, last.top1 >= wanted, last.top1, last.seconds, examining, last.epoch, loop.steps,
                  loop.steps * job.batch * job.workers, exam.size, tuple(curve), loop.clock, joules)


def examine(trainer: Trainer, exam: Dataset, *, label: str) -> dict[str, float]:
    """Return the accuracies that rank 0 finds, on every rank: its running statistics are the model's.

    Hits are gathered, not shares: whole numbers survive the float32 of some frameworks' all-reduce.
    """
    mine = accuracy(trainer.predict, exam, label=label, batch=EVALUATION_BATCH) if trainer.rank == 0 else {}
    hits = {name: trainer.gather(round(mine.get(name, 0.0) * exam.size))[0] for name in ("top1", "top5")}
    return {name: count / exam.size for name, count in hits.items()}
