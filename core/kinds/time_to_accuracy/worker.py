"""Training to an accuracy: after every epoch the network is examined on the test split, until it is good enough.

The clock runs from the first warm-up step to the end of the examination that is passed, as in MLPerf; examining is
part of it and also told apart. Epochs are made of windows of the ordinary protocol, so the throughput is known as well.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import JobError
from dlcompare.core.metrics.classification import accuracy
from dlcompare.core.plugins.job import target_top1

if TYPE_CHECKING:
    from dlcompare.core.data import Dataset
    from dlcompare.core.plugins.backend import Trainer
    from dlcompare.core.worker.windows import Run

WINDOW_SECONDS = 20.0  # about; an epoch may take hours, and a job that reports nothing is given up
EVALUATION_BATCH = 64  # samples; they need no gradients, so what a step's batch fits into holds these too
Json = dict[str, Any]


def train_to_target(run: Run, exam: Dataset, *, label: str, epoch_steps: int) -> Json:
    """Train until the job's target or its last epoch; return what was reached and the curve. Collective.

    ``epoch_steps`` are optimiser steps. The result has ``quantity``, ``wanted``, ``reached`` (a bool), ``value``,
    ``seconds`` (of which ``evaluation_seconds``), ``epochs``, ``steps``, ``samples``, and ``curve`` with a point for
    each epoch that ended after the warm-up: {epoch, step, seconds, loss, top1, top5}.
    """
    wanted, curve, examining = target_top1(run.job), [], 0.0
    if wanted is None:
        raise JobError("the job names no target")
    with contextlib.closing(exam):
        first, longest = run.steps // epoch_steps + 1, run.filling(WINDOW_SECONDS)  # the warm-up may have taken epochs
        for epoch in range(first, max(first, run.job.max_epochs) + 1):
            while left := epoch * epoch_steps - run.steps:
                run.take(min(left, longest))
            begin = time.perf_counter()
            shares = examined(run.trainer, exam, label=label)
            examining += time.perf_counter() - begin
            curve.append({"epoch": epoch, "step": run.steps, "seconds": time.perf_counter() - run.begun,
                          "loss": run.losses[-1]["loss"], **shares})
            if run.trainer.rank == 0:
                run.events("epoch", done=epoch, step=run.steps, top1=shares["top1"])
            if shares["top1"] >= wanted:
                break
    last = curve[-1]
    return {"quantity": "top1", "wanted": wanted, "reached": last["top1"] >= wanted, "value": last["top1"],
            "seconds": last["seconds"], "evaluation_seconds": examining, "epochs": last["epoch"], "steps": run.steps,
            "samples": run.steps * run.job.batch * run.job.workers, "test_samples": exam.size, "curve": curve}


def examined(trainer: Trainer, exam: Dataset, *, label: str) -> Json:
    """Return the accuracies that rank 0 finds, on every rank: its running statistics are the model's.

    Hits are gathered, not shares: whole numbers survive the float32 of some frameworks' all-reduce.
    """
    mine = accuracy(trainer.predict, exam, label=label, batch=EVALUATION_BATCH) if trainer.rank == 0 else {}
    hits = {name: trainer.gather(round(mine.get(name, 0.0) * exam.size))[0] for name in ("top1", "top5")}
    return {name: count / exam.size for name, count in hits.items()}
