"""What a backend must satisfy: hold it against the float64 reference, tiny cases first, then whole models.

Tolerances are not chosen but derived: the reference is run again with every result and every gradient multiplied by
1 + a * u, u uniform in [-1, 1], a the precision's rounding (``ROUNDING``); a tensor may differ from the exact run, in
Euclidean norm, by ``FACTOR`` times what that noise did to it. So a tensor that rounding hardly moves is held tightly,
and one that amplifies rounding is not blamed for it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .cases import RECIPES, Case, tiny
from .job import Job, learning_rate

if TYPE_CHECKING:
    from .backend import Arrays, Trainer
    from .graph import Graph

# A result of an fp32 kernel is a sum of up to some thousand rounded terms: 8 units in the last place.
ROUNDING = {"fp32": 2.0**-20, "bf16": 2.0**-8}
FACTOR = 4.0
TRIALS = 2
HIDDEN = 0.3  # of the work may be unfinished when wait() returns, before the clock is called dishonest
ORACLE = "reference"  # the backend that all others are held against
MODEL = "model"  # the case that is the job's own model
STEPS = 3

Noise = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Check:
    """One compared quantity: ``error`` and ``allowed`` are Euclidean norms, relative to that of the reference."""

    case: str
    quantity: str  # activation/NODE, gradient/PARAM, loss, parameter/PARAM, evaluation/OUTPUT, clock
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.allowed)  # False for NaN


def names(job: Job) -> tuple[str, ...]:
    """Return the cases of a verification: every tiny one, then the model."""
    return (*RECIPES, MODEL)


def case(name: str, job: Job) -> Case:
    """Return a case by name; ``model`` is the job's own model on synthetic input, dropout off."""
    if name != MODEL:
        return tiny(name)
    from .params import initial_params, read_weights
    from .plugins import plugins

    graph = without_dropout(plugins().model(job.model).graph(job.image_size))
    params = read_weights(job.weights, graph) if job.weights else initial_params(graph, job.seed)
    kind, argument = plugins().dataset("synthetic")
    data = kind.open(argument, graph.inputs, seed=job.seed, train=True, loaders=1)
    total = job.batch * job.workers
    batches = tuple(data.batch(np.arange(i * total, (i + 1) * total), epoch=0) for i in range(STEPS))
    return Case(f"{job.model}", "the whole model", graph, params, batches, heavy=True)


def case_job(case: Case, job: Job) -> Job:
    """Return the job under which a case is run: the learning rate changes at each step, so momentum's form shows."""
    lr = 0.02 if case.heavy else 0.1
    return dataclasses.replace(job, lr=lr, schedule="cosine:6", momentum=0.9, weight_decay=0.01)


def without_dropout(graph: Graph) -> Graph:
    """Return the graph with every dropout rate 0: random streams of frameworks cannot agree."""
    nodes = tuple(dataclasses.replace(n, attrs={**n.attrs, "rate": 0.0}) if n.op == "dropout" else n
                  for n in graph.nodes)
    return dataclasses.replace(graph, nodes=nodes)


def observe(trainer: Trainer, case: Case, *, job: Job) -> Arrays:
    """Run a case on a trainer and return what is compared, by quantity; a collective call."""
    shares = [share(batch, rank=trainer.rank, world=trainer.world) for batch in case.batches]
    seen = prefixed("evaluation", trainer.predict(case.batches[0]))
    if not case.trains:
        return seen
    for name, value in trainer.activations(shares[0]).items():  # a scalar, such as the loss, is a mean over all ranks
        seen[f"activation/{name}"] = np.asarray(value if np.ndim(value) else np.mean(trainer.gather(float(value))))
    seen |= prefixed("gradient", trainer.gradients(shares[0]))
    losses = []
    for step, batch in enumerate(shares):
        trainer.step(trainer.place(batch), learning_rate(job, step=step))
        losses.append(float(np.mean(trainer.gather(trainer.wait()))))
    seen["loss"] = np.array(losses)
    seen |= prefixed("parameter", trainer.params())
    seen |= prefixed("evaluation after training", trainer.predict(case.batches[0]))
    if case.heavy:
        seen["clock"] = np.array(hidden_work(trainer, shares[0]))
    return seen


def share(batch: Arrays, *, rank: int, world: int) -> Arrays:
    """Return one rank's rows of a global batch."""
    size = len(next(iter(batch.values()))) // world
    return {k: v[rank * size:(rank + 1) * size] for k, v in batch.items()}


def prefixed(prefix: str, arrays: Arrays) -> Arrays:
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
        read = timed(trainer.params)
        hidden = max(0.0, read - timed(trainer.params))
        return hidden / (waited + hidden)

    return min(once() for _ in range(3))


def timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def expect(case: Case, job: Job, noise: Noise | None = None) -> Arrays:
    """Return what the reference observes, emulating the job's workers in one process."""
    from .plugins import plugins

    oracle: Any = plugins().backend(ORACLE)
    trainer = oracle.oracle(case.graph, case.params, job, replicas=job.workers, noise=noise)
    seen = observe(trainer, dataclasses.replace(case, heavy=False), job=job)
    rows = len(next(iter(case.batches[0].values()))) // job.workers
    return {k: v[:rows] if k.startswith("activation/") and v.ndim else v for k, v in seen.items()}


@dataclass(frozen=True)
class Expected:
    """What the reference shows on a case, exactly and under noise of a precision's amplitude."""

    exact: Arrays
    noisy: tuple[Arrays, ...]
    amplitude: float


def expected(case: Case, job: Job) -> Expected:
    """Return what a backend should show, and what decides how far it may be off; the slow part of a verification."""
    rng = np.random.default_rng(0)
    amplitude = ROUNDING[job.precision]

    def noise(x: np.ndarray) -> np.ndarray:
        return np.asarray(x * (1 + amplitude * rng.uniform(-1, 1, x.shape)))

    return Expected(expect(case, job), tuple(expect(case, job, noise) for _ in range(TRIALS)), amplitude)


def judge(case: Case, seen: Arrays, want: Expected) -> list[Check]:
    """Compare what a backend showed with the reference; one check per quantity, a missing one fails."""
    checks = [compare(case, k, seen.get(k), v, [n[k] for n in want.noisy], want.amplitude)
              for k, v in want.exact.items() if k in seen or not k.startswith("activation/")]
    if "clock" in seen:
        checks.append(Check(case.name, "clock", float(seen["clock"]), HIDDEN))
    return checks


def compare(case: Case, quantity: str, seen: np.ndarray | None, exact: np.ndarray, noisy: list[np.ndarray],
            amplitude: float) -> Check:
    """Return the check of one tensor."""
    moved = max(float(np.linalg.norm(n - exact)) for n in noisy)
    size = max(float(np.linalg.norm(exact)), moved) or 1.0  # a gradient that is 0 but for rounding has no size
    allowed = FACTOR * max(moved / size, amplitude)
    if seen is None or seen.shape != exact.shape:
        return Check(case.name, quantity, float("inf"), allowed)
    return Check(case.name, quantity, float(np.linalg.norm(seen.astype(np.float64) - exact)) / size, allowed)


def first_divergence(case: Case, checks: list[Check]) -> str | None:
    """Name the first layer that diverges: in forward order by result, else in backward order by gradient."""
    failed = {c.quantity: c for c in checks if not c.passed}
    for node in case.graph.nodes:
        if f"activation/{node.name}" in failed:
            return f"{node.op} {node.name!r} (forward)"
    for node in reversed(case.graph.nodes):
        if any(f"gradient/{node.param_name(k)}" in failed for k in node.params):
            return f"{node.op} {node.name!r} (gradient)"
    for node in case.graph.nodes:
        if any(f"parameter/{node.param_name(k)}" in failed for k in node.params):
            return f"{node.op} {node.name!r} (after {len(case.batches)} steps)"
    return next(iter(failed), None)
