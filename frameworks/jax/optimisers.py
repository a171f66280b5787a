"""The optimisers, written out, for JAX has none of its own: pure functions of one parameter and its moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.core.plugins.optimiser import ADAM, ADAMW, NESTEROV, SGD, Optimiser, parse

Moved = tuple[Array, Array, Any]  # the weight, and both moments
Rule = Callable[[Array, Array, Array, Any, Array, Array], Moved]


def rule(job: Job) -> Rule:
    """Return (weight, gradient, first and second moment, learning rate, steps with this one) -> what they become."""
    wanted = parse(job.optimiser)

    def step(weight: Array, gradient: Array, first: Array, second: Any, lr: Array, taken: Array) -> Moved:
        decay = decay_of(job, weight.shape)
        if wanted.name in (SGD, NESTEROV):
            fresh = gradient + decay * weight
            first = job.momentum * first + fresh
            return weight - lr * (fresh + job.momentum * first if wanted.name == NESTEROV else first), first, second
        if wanted.name == ADAM:
            gradient = gradient + decay * weight
        way, first, second = adaptive(wanted, gradient, first, second, taken)
        return weight - lr * (way + decay * weight if wanted.name == ADAMW else way), first, second

    return step


def adaptive(wanted: Optimiser, gradient: Array, first: Array, second: Array, taken: Array) -> Moved:
    """Return Adam's step and its moments. 1 - b^t as -expm1(t log b): of float32 the difference would keep few digits.
    """
    first = wanted.beta1 * first + (1 - wanted.beta1) * gradient
    second = wanted.beta2 * second + (1 - wanted.beta2) * jnp.square(gradient)
    c1, c2 = correction(wanted.beta1, taken), correction(wanted.beta2, taken)
    return (first / c1) / (jnp.sqrt(second / c2) + wanted.eps), first, second


def correction(beta: float, taken: Array) -> Array:
    return -jnp.expm1(taken * math.log(beta)) if beta else jnp.float32(1)


def shortened(gradients: dict[str, Array], most: float | None) -> dict[str, Array]:
    """Return the gradients with the norm of all of them together brought down to ``most``."""
    if most is None:
        return gradients
    norm = jnp.sqrt(sum(jnp.square(gradient).sum() for gradient in gradients.values()))
    return {name: gradient * jnp.minimum(1.0, most / norm) for name, gradient in gradients.items()}
