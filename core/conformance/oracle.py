"""What a backend must satisfy: observed on tiny cases and whole models, and held against the float64 reference.

``expectation`` says what the reference shows and how far a backend may be off.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.data.weights import balanced, share, weights_among
from dlcompare.core.graph.params import initial_params, read_weights
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job, learning_rate
from dlcompare.core.plugins.registry import plugins

from . import dropout
from .cases import RECIPES, Case, tiny
from .check import Check, Expected

if TYPE_CHECKING:
    from dlcompare.core.graph import Graph, Node
    from dlcompare.core.graph.model import Model
    from dlcompare.core.plugins.backend import Arrays, Trainer

HIDDEN = 0.5  # of the work may be unfinished when wait() returns, before the clock is called dishonest
MODEL = "model"  # the case that is the job's own model
STEPS = 3
EVALUATION = "evaluation", "evaluation after training"


def names(job: Job) -> tuple[str, ...]:
    """Return the cases of a verification: every tiny one whose numbers the precision can hold, then the model.

    The reference draws no masks, so there are none of its own to judge.
    """
    held = [name for name, recipe in RECIPES.items() if job.precision != "fp16" or not recipe.wide]
    return (*held, *((dropout.NAME,) if job.framework != ORACLE else ()), MODEL)


def case(name: str, job: Job) -> Case:
    """Return a case by name; ``model`` is the job's own model on synthetic input, dropout off."""
    if name == dropout.NAME:
        return dropout.case()
    return whole(plugins().model(job.model), job) if name == MODEL else tiny(name)


def whole(model: Model, job: Job) -> Case:
    """Return the case of a whole model under a job's image size, weights, seed and batch."""
    graph = without_dropout(model.graph(job.image_size, job.classes))
    params = read_weights(job.weights, graph) if job.weights else initial_params(graph, job.seed)
    kind, argument = plugins().dataset("synthetic")
    data = kind.open(argument, graph.inputs, seed=job.seed, train=True, loaders=1)
    total = job.batch * job.workers
    names = weights_among(graph.inputs)
    batches = tuple(balanced(data.batch(np.arange(i * total, (i + 1) * total), epoch=0), names) for i in range(STEPS))
    return Case(model.name, "the whole model", graph, params, batches, heavy=True)


def case_job(case: Case, job: Job) -> Job:
    """Return the job under which a case is run: the learning rate changes at each step, so momentum's form shows."""
    if case.random:
        return dropout.plain(job)
    if not case.heavy:
        lr = 0.1
    else:  # larger steps of a deep network amplify rounding until nothing can be told, the more so with batch norm
        lr = 1e-5 if any(node.op == "batch_norm" for node in case.graph.nodes) else 1e-4
    # A loss scale at which fp16 neither overflows nor, so that a step is skipped, comes near it.
    return dataclasses.replace(job, lr=lr, schedule="cosine:6", momentum=0.9, weight_decay=0.01, decay=case.decay,
                               optimiser=case.optimiser, clip=case.clip, loss_scale=128.0)


def without_dropout(graph: Graph) -> Graph:
    """Return the graph with every dropout rate 0: random streams of frameworks cannot agree."""
    nodes = tuple(dataclasses.replace(n, attrs={**n.attrs, "rate": 0.0}) if n.op == "dropout" else n
                  for n in graph.nodes)
    return dataclasses.replace(graph, nodes=nodes)


def observe(trainer: Trainer, case: Case, *, job: Job) -> Arrays:
    """Run a case on a trainer and return what is compared, by quantity; a collective call."""
    shares = [share(batch, rank=trainer.rank, world=trainer.world) for batch in case.batches]
    rows = len(next(iter(case.batches[0].values()))) // job.workers  # the first worker's: a process may carry several
    seen = with_prefix("evaluation", trainer.predict(case.batches[0]))
    if case.random:
        return seen | with_prefix("training", dropout.observe(trainer, shares, workers=job.workers))
    if not case.trains:
        return seen
    folded = case.graph.rows()
    for name, value in trainer.activations(shares[0]).items():  # a scalar, such as the loss, is a mean over all ranks
        whole = np.asarray(value if np.ndim(value) else np.mean(trainer.gather(float(value))))
        seen[f"activation/{name}"] = whole[:rows * folded.get(name, 1)] if whole.ndim else whole
    seen |= with_prefix("gradient", trainer.gradients(shares[0]))
    losses = []
    for step, batch in enumerate(shares):
        trainer.step(trainer.place(batch), learning_rate(job, step=step))
        losses.append(float(np.mean(trainer.gather(trainer.wait()))))
    seen["loss"] = np.array(losses)
    seen |= with_prefix("parameter", trainer.params())
    seen |= with_prefix("evaluation after training", trainer.predict(case.batches[0]))
    if case.heavy:
        seen["clock"] = np.array(hidden_work(trainer, shares[0]))
    return seen


def with_prefix(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}/{k}": np.asarray(v) for k, v in arrays.items()}


def hidden_work(trainer: Trainer, batch: Arrays) -> float:
    """Return the share of a step's work that was still going on when ``wait`` returned.

    Reading the parameters needs the work to be over; what that takes beyond reading them at rest was hidden.
    """
    placed = trainer.place(batch)

    def once() -> float:
        begin = time.perf_counter()
        trainer.step(placed, 0.0)
        trainer.wait()
        waited = time.perf_counter() - begin
        read = seconds_of(trainer.params)
        hidden = max(0.0, read - seconds_of(trainer.params))
        return hidden / (waited + hidden)

    return min(once() for _ in range(5))


def seconds_of(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def kind(quantity: str) -> str:
    return quantity.partition("/")[0]


def judge(case: Case, seen: Arrays, want: Expected) -> list[Check]:
    """Compare what a backend showed with the reference; one check per quantity.

    A missing one fails, but for the results of nodes that the loss does not need.
    """
    needed = {f"activation/{name}" for node in case.graph.needed("loss") for name in node.results}
    checks = [Check(case.name, k, distance(seen.get(k), exact) / want.size[k], want.allowed[k])
              for k, exact in want.exact.items() if k in seen or k in needed or kind(k) != "activation"]
    if case.random:
        checks += dropout.judge(case, seen, rounding=want.allowed["evaluation/y"])
    if case.heavy and case.trains:
        checks.append(Check(case.name, "clock", float(seen.get("clock", np.inf)), HIDDEN))
    return checks


def norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))


def distance(seen: np.ndarray | None, exact: np.ndarray) -> float:
    """Return the Euclidean distance of two tensors; infinite if one is missing or of another shape."""
    if seen is None or seen.shape != exact.shape:
        return float("inf")
    return norm(seen.astype(np.float64) - exact)


def first_divergence(case: Case, checks: list[Check]) -> str | None:
    """Name the first layer that diverges, by what shows it: its result in training, else the gradient of its
    parameters (from the loss backwards), else its parameters after the steps (those furthest off, for by then one
    layer's mistake has reached the others), else its result in evaluation; else the first failed quantity.
    """
    off = {c.quantity: c.error / c.allowed if c.error < np.inf else np.inf for c in checks if not c.passed}
    nodes, steps = case.graph.nodes, f"after {len(case.batches)} steps"

    def furthest(node: Node, kind: str) -> float:
        return max((off.get(f"{kind}/{node.param_name(local)}", 0.0) for local in node.params), default=0.0)

    found = [(n, "forward") for n in nodes if any(f"activation/{name}" in off for name in n.results)]
    found += [(n, "gradient") for n in reversed(nodes) if furthest(n, "gradient")]
    found += [(n, steps) for n in sorted(nodes, key=lambda n: -furthest(n, "parameter")) if furthest(n, "parameter")]
    found += [(n, "training") for n in nodes if any(quantity.startswith(f"{n.op}/") for quantity in off)]
    found += [(case.graph.node(node), kind) for kind in EVALUATION
              for output, node in case.graph.outputs.items() if f"{kind}/{output}" in off]
    return f"{found[0][0].op} {found[0][0].name!r} ({found[0][1]})" if found else next(iter(off), None)
