"""Training to an accuracy: after every epoch the network is examined on the test split, until it is good enough.

The clock runs from the first warm-up step to the end of the examination that is passed, as in MLPerf; examining is
part of it and also told apart. Epochs are windows of the ordinary protocol, so their throughput is known as well.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from .accuracy import accuracy
from .errors import JobError
from .job import target_top1

if TYPE_CHECKING:
    from .backend import Trainer
    from .data import Dataset
    from .windows import Run

EVALUATION_BATCH = 64  # samples; they need no gradients, so what a step's batch fits into holds these too
Json = dict[str, Any]


def train_to_target(run: Run, exam: Dataset, *, label: str, epoch_steps: int) -> Json:
    """Train until the job's target or its last epoch; return what was reached and the curve. Collective.

    ``epoch_steps`` are optimiser steps. The result has ``quantity``, ``wanted``, ``reached`` (a bool), ``value``,
    ``seconds`` (of which ``evaluation_seconds``), ``epochs``, ``steps``, ``samples``, and ``curve`` with a point for
    each epoch: {epoch, step, seconds, loss, top1, top5}.
    """
    wanted, curve, examining = target_top1(run.job), [], 0.0
    if wanted is None:
        raise JobError("the job names no target")
    with contextlib.closing(exam):
        for epoch in range(1, run.job.max_epochs + 1):
            steps = epoch * epoch_steps - run.steps
            if steps > 0:  # the warm-up may have taken more than an epoch
                run.windows.append(run.watched(steps))
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
    """Return the accuracies that rank 0 finds, on every rank: its running statistics are the model's."""
    mine = accuracy(trainer.predict, exam, label=label, batch=EVALUATION_BATCH) if trainer.rank == 0 else {}
    return {name: trainer.gather(mine.get(name, 0.0))[0] for name in ("top1", "top5")}
