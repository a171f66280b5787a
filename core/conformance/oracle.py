"""What a backend must satisfy: hold it against the float64 reference, tiny cases first, then whole models.

Tolerances are derived, not chosen per op: the reference is run again with every result and every gradient multiplied by
1 + a * u, u uniform in [-1, 1], a ``FACTOR`` times the precision's rounding (``ROUNDING``); a tensor may differ from
the exact run, in Euclidean norm, by ``SLACK`` times what that noise did to it in the worst of some trials. So a tensor
that rounding hardly moves is held tightly, and one that amplifies rounding is not blamed for it. It is the noise that
is made larger, not what it did: a ReLU on the edge of 0 turns over whole or not at all, only more often.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.graph.params import initial_params, read_weights
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job, learning_rate
from dlcompare.core.plugins.registry import plugins

from . import dropout
from .cases import RECIPES, Case, tiny
from .check import Check

if TYPE_CHECKING:
    from dlcompare.core.graph import Graph, Node
    from dlcompare.core.graph.model import Model
    from dlcompare.core.plugins.backend import Arrays, Trainer

# Two units in the last place, for a kernel's fp32 result is a sum of up to some thousand rounded terms; in bf16 such a
# sum is rounded once, by at most 2^-8, half of it on average; in tf32 and fp16 with three bits more.
ROUNDING = {"fp32": 2.0**-22, "tf32": 2.0**-12, "bf16": 2.0**-9, "fp16": 2.0**-12}
FACTOR, SLACK = 8.0, 1.5
STORED = 2.0**-23  # every step rounds the parameters to float32, in any precision
TRIALS = 8  # of a whole model too: its three losses hang on few numbers, and scatter sixteenfold (docs/semantics.md)
ROW = 1_000_003  # factors drawn for a trial; a prime, so that no two rows of a tensor get the same ones
HIDDEN = 0.5  # of the work may be unfinished when wait() returns, before the clock is called dishonest
MODEL = "model"  # the case that is the job's own model
STEPS = 3
EVALUATION = "evaluation", "evaluation after training"

Noise = Callable[[np.ndarray], np.ndarray]


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
    batches = tuple(data.batch(np.arange(i * total, (i + 1) * total), epoch=0) for i in range(STEPS))
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
    return dataclasses.replace(job, lr=lr, schedule="cosine:6", momentum=0.9, weight_decay=0.01, loss_scale=128.0)


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
    for name, value in trainer.activations(shares[0]).items():  # a scalar, such as the loss, is a mean over all ranks
        whole = np.asarray(value if np.ndim(value) else np.mean(trainer.gather(float(value))))
        seen[f"activation/{name}"] = whole[:rows] if whole.ndim else whole
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


def share(batch: Arrays, *, rank: int, world: int) -> Arrays:
    """Return one rank's rows of a global batch."""
    size = len(next(iter(batch.values()))) // world
    return {k: v[rank * size:(rank + 1) * size] for k, v in batch.items()}


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


def expect(case: Case, job: Job, noise: Noise | None = None) -> Arrays:
    """Return what the reference observes, emulating the job's workers in one process."""
    oracle: Any = plugins().backend(ORACLE)
    trainer = oracle.oracle(case.graph, case.params, job, replicas=job.workers, noise=noise)
    return observe(trainer, dataclasses.replace(case, heavy=False, random=False), job=job)


@dataclass(frozen=True)
class Expected:
    """What the reference shows on a case, the size of each quantity, and how far it may be off relative to that."""

    exact: Arrays
    size: dict[str, float]
    allowed: dict[str, float]


def expectation(case: Case, job: Job) -> Expected:
    """Return what a backend should show, and how far it may be off."""
    exact = expect(case, job)
    return expected(case, job, exact, worst(trial(case, job, exact, number) for number in range(TRIALS)))


def expected(case: Case, job: Job, exact: Arrays, moved: dict[str, float]) -> Expected:
    """Return what a backend should show, given the exact run and how far trials moved each quantity at most."""
    size = {k: max(own_size(case, exact, k), moved[k]) or 1.0 for k in exact}
    relative = {k: moved[k] / size[k] for k in exact}
    return Expected(exact, size, tolerances(exact, size, relative, amplitude(job)))


def trial(case: Case, job: Job, exact: Arrays, number: int) -> dict[str, float]:
    """Return how far the noise of one trial moves each quantity from the exact run; each trial has noise of its own."""
    seen = expect(case, job, noise(amplitude(job), seed=number))
    return {quantity: distance(seen[quantity], exact[quantity]) for quantity in exact}


def worst(trials: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return how far each quantity was moved by the trial that moved it most."""
    found: dict[str, float] = {}
    for moved in trials:
        found = {k: max(v, found.get(k, 0.0)) for k, v in moved.items()}
    return found


def amplitude(job: Job) -> float:
    """Return how large the noise of a trial is, relative to what it is multiplied onto."""
    return FACTOR * ROUNDING[job.precision]


def noise(amplitude: float, *, seed: int) -> Noise:
    """Return a function that multiplies an array by 1 + amplitude * u, u uniform in [-1, 1].

    The factors are stretches of one row drawn beforehand, each from a place of its own: a draw for each element takes
    longer than most ops do.
    """
    rng = np.random.default_rng(seed)
    row = 1 + amplitude * rng.uniform(-1, 1, ROW)
    row = np.concatenate([row, row])  # so that a stretch may begin anywhere

    def apply(x: np.ndarray) -> np.ndarray:
        flat, result = x.reshape(-1), np.empty(x.size)
        for start in range(0, x.size, ROW):
            part, place = flat[start:start + ROW], int(rng.integers(ROW))
            np.multiply(part, row[place:place + part.size], out=result[start:start + ROW])
        return result.reshape(x.shape)

    return apply


def own_size(case: Case, exact: Arrays, quantity: str) -> float:
    """Return the norm that errors of a quantity are relative to.

    Parameters are measured by what training did to them, and a layer's together, gradients too: one that is 0 but for
    rounding (of an attention key's bias) has no size of its own.
    """
    if kind(quantity) not in ("gradient", "parameter"):
        return norm(exact[quantity])
    layer = quantity.rpartition(".")[0] + "."
    start = case.params if kind(quantity) == "parameter" else {}
    return max(norm(v - start.get(k.partition("/")[2], 0.0)) for k, v in exact.items() if k.startswith(layer))


def tolerances(exact: Arrays, size: dict[str, float], moved: dict[str, float], amplitude: float) -> dict[str, float]:
    """Return how far each quantity may be off, given how far noise of an amplitude moved it, both relative to its size.

    A single number may have been moved little by luck: it takes the tolerance of the worst quantity of its kind.
    """
    most = defaultdict[str, float](float)
    for quantity, value in moved.items():
        most[kind(quantity)] = max(most[kind(quantity)], value)
    allowed = {k: SLACK * max(moved[k] if v.ndim else most[kind(k)], amplitude) for k, v in exact.items()}
    stored = {k: STORED * norm(v) / size[k] for k, v in exact.items() if kind(k) == "parameter"}
    return allowed | {k: max(allowed[k], floor) for k, floor in stored.items()}


def kind(quantity: str) -> str:
    return quantity.partition("/")[0]


def judge(case: Case, seen: Arrays, want: Expected) -> list[Check]:
    """Compare what a backend showed with the reference; one check per quantity.

    A missing one fails, but for the results of nodes that the loss does not need.
    """
    needed = {f"activation/{node.name}" for node in case.graph.needed("loss")}
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

    found = [(n, "forward") for n in nodes if f"activation/{n.name}" in off]
    found += [(n, "gradient") for n in reversed(nodes) if furthest(n, "gradient")]
    found += [(n, steps) for n in sorted(nodes, key=lambda n: -furthest(n, "parameter")) if furthest(n, "parameter")]
    found += [(n, "training") for n in nodes if any(quantity.startswith(f"{n.op}/") for quantity in off)]
    found += [(case.graph.node(node), kind) for kind in EVALUATION
              for output, node in case.graph.outputs.items() if f"{kind}/{output}" in off]
    return f"{found[0][0].op} {found[0][0].name!r} ({found[0][1]})" if found else next(iter(off), None)
