"""Known mistakes of optimisers and all-reduces, each tried in the reference: which would make what a backend showed?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.data.weights import share
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job, decay_of, learning_rate
from dlcompare.core.plugins.optimiser import SGD
from dlcompare.core.plugins.registry import plugins

from .check import Check
from .diagnosis import Evidence
from .oracle import distance, first_divergence, judge

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays

    from .cases import Case
    from .check import Expected

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Update:
    """One parameter's step: its weight, velocity and gradient, the learning rates, momentum, its own weight decay, and
    the job's, which does not reach every parameter.
    """

    weight: Array
    velocity: Array
    gradient: Array
    rate: Callable[[int], float]
    step: int
    momentum: float
    decay: float
    undivided: float

    @property
    def fresh(self) -> Array:
        return np.asarray(self.gradient + self.decay * self.weight)

    @property
    def lr(self) -> float:
        return self.rate(self.step)

    def take(self, velocity: Array, *, lr: float | None = None) -> tuple[Array, Array]:
        """Return the new weight and velocity, as SGD has it once the velocity is known."""
        return self.weight - (self.lr if lr is None else lr) * velocity, velocity


Rule = Callable[[Update], tuple[Array, Array]]


def usual(u: Update) -> tuple[Array, Array]:
    return u.take(u.momentum * u.velocity + u.fresh)


def without_decay(u: Update) -> tuple[Array, Array]:
    return u.take(u.momentum * u.velocity + u.gradient)


def decay_of_matrices(u: Update) -> tuple[Array, Array]:
    return usual(u) if u.weight.ndim > 1 else without_decay(u)


def decay_of_all(u: Update) -> tuple[Array, Array]:
    return u.take(u.momentum * u.velocity + u.gradient + u.undivided * u.weight)


def decoupled(u: Update) -> tuple[Array, Array]:
    weight, velocity = without_decay(u)
    return weight - u.lr * u.decay * u.weight, velocity


def nesterov(u: Update) -> tuple[Array, Array]:
    velocity = u.momentum * u.velocity + u.fresh
    return u.weight - u.lr * (u.fresh + u.momentum * velocity), velocity


def rate_inside(u: Update) -> tuple[Array, Array]:
    velocity = u.momentum * u.velocity - u.lr * u.fresh
    return u.weight + velocity, velocity


def dampened(u: Update) -> tuple[Array, Array]:
    return u.take(u.momentum * u.velocity + (1 - u.momentum) * u.fresh)


def dampened_later(u: Update) -> tuple[Array, Array]:
    return dampened(u) if u.step else usual(u)


RULES: dict[str, Rule] = {
    "weight decay is left out": without_decay,
    "weight decay spares biases and scales": decay_of_matrices,
    "weight decay reaches biases and scales too": decay_of_all,
    "weight decay is decoupled, as AdamW's": decoupled,
    "the learning rate is frozen at the first step": lambda u: u.take(usual(u)[1], lr=u.rate(0)),
    "the learning rate is the next step's": lambda u: u.take(usual(u)[1], lr=u.rate(u.step + 1)),
    "momentum is left out": lambda u: u.take(u.fresh),
    "momentum is Nesterov's": nesterov,
    "the learning rate is inside the velocity, as Keras has it": rate_inside,
    "momentum is dampened": dampened,
    "momentum is dampened from the second step on, as PyTorch's dampening does": dampened_later,
}
SUMMED, ALONE = "it sums the workers' gradients instead of averaging them", "there is none, each worker trains alone"


def evidence(case: Case) -> Evidence:
    """Return what is known of a case before anyone tried it."""
    return Evidence(case.pins, frozenset(node.op for node in case.graph.nodes), case.trains,
                    carries=bool(case.graph.carried()))


def examine(case: Case, job: Job, *, seen: Arrays, want: Expected) -> tuple[list[Check], Evidence]:
    """Return the checks of what a backend showed on a case, and what is known of the case then."""
    checks, about = judge(case, seen, want), evidence(case)
    if all(check.passed for check in checks):
        return checks, about
    # RULES are mistakes of plain SGD, tried on each step alone.
    untold = case.heavy or not case.trains or case.optimiser != SGD or case.clip or case.graph.carried()
    known = () if untold else suspects(case, job, seen=seen, want=want)
    return checks, dataclasses.replace(about, layer=first_divergence(case, checks), suspects=known)


def suspects(case: Case, job: Job, *, seen: Arrays, want: Expected) -> tuple[str, ...]:
    """Return the mistakes that explain what a backend showed on a tiny case: gradients that are wrong, or parameters.

    Empty where both are right, or no known mistake explains them.
    """
    if not agrees(want.exact, seen=seen, want=want, kind="gradient"):
        return tuple(name for name, made in reductions(case, job, want) if agrees(made, seen=seen, want=want,
                                                                                  kind="gradient"))
    if agrees(want.exact, seen=seen, want=want, kind="parameter"):
        return ()
    made = {name: course(case, job, rule) for name, rule in RULES.items()}
    return tuple(name for name, one in made.items() if agrees(one, seen=seen, want=want, kind="parameter")
                 and not agrees(one, seen=want.exact, want=want, kind="parameter"))  # what changes nothing is none


def agrees(made: Arrays, *, seen: Arrays, want: Expected, kind: str) -> bool:
    """Return whether all that was seen of a kind is what was made, within the tolerances; statistics apart."""
    names = [name for name in want.exact if name.startswith(f"{kind}/") and name in made]
    return all(distance(seen.get(name), made[name]) <= want.allowed[name] * max(want.size[name], norm(made, name))
               for name in names)


def norm(arrays: Arrays, name: str) -> float:
    return float(np.linalg.norm(arrays[name])) if name.startswith("gradient/") else 0.0


def reductions(case: Case, job: Job, want: Expected) -> Iterator[tuple[str, Arrays]]:
    """Yield what each mistake of an all-reduce makes of the gradients."""
    if job.workers > 1:
        yield SUMMED, {k: v * job.workers for k, v in want.exact.items() if k.startswith("gradient/")}
        own = share(case.batches[0], rank=0, world=job.workers)
        yield ALONE, {f"gradient/{k}": v for k, v in gradients(case, case.params, own, job, workers=1).items()}


def gradients(case: Case, params: Arrays, batch: Arrays, job: Job, *, workers: int) -> Arrays:
    """Return the reference's gradients at some parameters."""
    oracle: Any = plugins().backend(ORACLE)
    found: Arrays = oracle.oracle(case.graph, params, job, replicas=workers, noise=None).gradients(batch)
    return found


def course(case: Case, job: Job, rule: Rule) -> Arrays:
    """Return the trained parameters after the case's steps under a rule, as quantities."""
    params = {name: value.astype(np.float64) for name, value in case.params.items()}
    velocity = {name: np.zeros_like(params[name]) for name in case.graph.trained()}
    for step, batch in enumerate(case.batches):
        found = gradients(case, params, batch, job, workers=job.workers)
        for name in velocity:
            update = Update(params[name], velocity[name], found[name], lambda s: learning_rate(job, step=s), step,
                            job.momentum, decay_of(job, params[name].shape), job.weight_decay)
            params[name], velocity[name] = rule(update)
    return {f"parameter/{name}": params[name] for name in velocity}
