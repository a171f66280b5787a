"""Dropout in training. No two backends draw the same masks, so what is held are the masks' statistics.

Each word of the case's batch occurs once, so what a step does to the table of words shows, element by element and for
the samples of all workers, what that step dropped: a dropped element has no gradient, and without momentum and weight
decay its weight stays as it is to the last bit.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.plugins.optimiser import SGD

from .cases import BATCH, Case
from .check import Check

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays, Trainer
    from dlcompare.core.plugins.job import Job

NAME, PINS = "dropout-training", "zero with probability rate, the rest times 1 / (1 - rate); every mask drawn anew"
RATE = 0.3  # not a half, so that it cannot be taken for the share to keep
LENGTH, WIDTH, CLASSES = 64, 64, 5
CHANCE = 1e-10  # of a false alarm in one statistic of independent draws, of which there are ten at most
RATE_OF_LEARNING = 0.02  # a step moves a weight by ten thousand times its rounding, yet learns little
STEPS = 2
LOOSE = 0.02  # of a step: an element whose gradient is lost in rounding counts as dropped; each moves it by 0.002


def case() -> Case:
    """Return the case; its evaluation is compared with the reference, its training by :func:`judge`."""
    graph = _graph()
    rng = np.random.default_rng(zlib.crc32(NAME.encode()))
    words = rng.choice([-0.1, 0.1], (BATCH * LENGTH, WIDTH)) * rng.uniform(1, 2, (BATCH * LENGTH, WIDTH))  # none near 0
    weight = rng.standard_normal((CLASSES, LENGTH * WIDTH)) * 3 / math.sqrt(LENGTH * WIDTH)
    params = {"words.weight": words, "fc.weight": weight, "fc.bias": np.zeros(CLASSES)}
    batch = {"ids": np.arange(BATCH * LENGTH).reshape(BATCH, LENGTH), "label": np.arange(BATCH) % CLASSES}
    return Case(NAME, PINS, graph, {k: v.astype(np.float32) for k, v in params.items()}, (batch,) * STEPS,
                trains=False, random=True)


def _graph() -> Graph:
    def build(ids: Tensor, label: Tensor) -> dict[str, Tensor]:
        x = ids.embedding(BATCH * LENGTH, WIDTH, name="words").dropout(RATE, name="dropout")
        logits = x.flatten(name="flat").dense(CLASSES, name="fc")
        return {"y": x, "loss": logits.cross_entropy(label, name="loss")}

    return trace(NAME, build, {"ids": Input((LENGTH,), "int64", "ids", BATCH * LENGTH),
                               "label": Input((), "int64", "label", CLASSES)})


def plain(job: Job) -> Job:
    """Return the job under which the case is run: neither momentum nor weight decay, which move what was dropped."""
    return dataclasses.replace(job, lr=RATE_OF_LEARNING, schedule="constant", optimiser=SGD, momentum=0.0,
                               weight_decay=0.0, clip=None, loss_scale=128.0)


def observe(trainer: Trainer, shares: list[Arrays], *, workers: int) -> Arrays:
    """Return what training shows of its masks; a collective call."""
    shown = trainer.activations(shares[0])
    seen = {"before": np.asarray(shown["words"]), "after": np.asarray(shown["dropout"]), "workers": np.array(workers)}
    for step, share in enumerate(shares):
        trainer.step(trainer.place(share), RATE_OF_LEARNING)
        trainer.wait()
        seen[f"table-{step}"] = np.asarray(trainer.params()["words.weight"])
    return seen


def judge(case: Case, seen: Arrays, *, rounding: float) -> list[Check]:
    """Return a check for each statistic; ``rounding`` is what the scale and a step may be off by."""
    seen = {name.partition("/")[2]: value for name, value in seen.items() if name.startswith("training/")}
    if not whole(case, seen):
        return [Check(NAME, "dropout/shown", math.inf, rounding)]
    masks, own = kept_by_steps(case, seen), BATCH // int(seen["workers"])
    return [*of_results(case, seen, masks[0], rounding=rounding), *of_draws(masks, own=own)]


def whole(case: Case, seen: Arrays) -> bool:
    """Return whether nothing is missing or misshapen, of which there would be no statistics."""
    tables = [seen.get(f"table-{step}") for step in range(STEPS)]
    shapes = {case.params["words.weight"].shape} == {table.shape for table in tables if table is not None}
    results = [seen.get(name, np.zeros(0)).shape[1:] for name in ("before", "after")]
    return all(table is not None for table in tables) and shapes and results == [(LENGTH, WIDTH)] * 2


def of_results(case: Case, seen: Arrays, first: np.ndarray, *, rounding: float) -> list[Check]:
    """Return the checks of what dropout made of its input, and of the first step under its own mask."""
    shown, step = seen["after"] != 0, step_under(case, first)
    return [Check(NAME, "dropout/drops", float(first.all()), 0.5), share("zeros", [shown], 1 - RATE),
            Check(NAME, "dropout/scale", relative(seen["after"], seen["before"] * shown / (1 - RATE)), rounding),
            Check(NAME, "dropout/step", relative(seen["table-0"] - case.params["words.weight"], step),
                  max(rounding, LOOSE))]


def of_draws(masks: list[np.ndarray], *, own: int) -> list[Check]:
    """Return the checks that all masks are draws of their own; each worker has ``own`` samples."""
    first, agreement = masks[0], RATE**2 + (1 - RATE)**2
    pairs = {"steps": [(first, masks[1])], "samples": [(first[0], first[1])] * (own > 1),
             "workers": [(first[0], first[other]) for other in range(own, BATCH, own)],
             "neighbours": [(first[:, ::2], first[:, 1::2]), (first[..., ::2], first[..., 1::2])]}
    return [share("zeros-in-steps", masks, 1 - RATE),
            *(share(f"{what}-differ", [one == other for one, other in draws], agreement)
              for what, draws in pairs.items() if draws)]


def kept_by_steps(case: Case, seen: Arrays) -> list[np.ndarray]:
    """Return, for each step, which elements (sample, position, feature) it kept: those whose weights it moved."""
    tables = [case.params["words.weight"], *(seen[f"table-{step}"] for step in range(STEPS))]
    return [(new != old).reshape(BATCH, LENGTH, WIDTH) for old, new in pairwise(tables)]


def step_under(case: Case, kept: np.ndarray) -> np.ndarray:
    """Return what the first step does to the table of words if it kept those elements, forwards and backwards."""
    params = {name: value.astype(np.float64) for name, value in case.params.items()}
    factor = kept.reshape(BATCH, -1) / (1 - RATE)
    logits = params["words.weight"].reshape(BATCH, -1) * factor @ params["fc.weight"].T + params["fc.bias"]
    wrong = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) - np.eye(CLASSES)[case.batches[0]["label"]]
    step = -RATE_OF_LEARNING / BATCH * (wrong @ params["fc.weight"]) * factor
    return np.asarray(step.reshape(BATCH * LENGTH, WIDTH))


def share(what: str, draws: list[np.ndarray], expected: float) -> Check:
    """Return the check that a share of independent draws is what it should be: Hoeffding's bound, of the worst."""
    error = max(abs(float(np.mean(one)) - expected) for one in draws)
    return Check(NAME, f"dropout/{what}", error, math.sqrt(math.log(2 / CHANCE) / (2 * draws[0].size)))


def relative(seen: np.ndarray, exact: np.ndarray) -> float:
    """Return the distance of two tensors relative to the size of the second; of one that is 0, as it is."""
    return float(np.linalg.norm(seen - exact)) / (float(np.linalg.norm(exact)) or 1.0)
