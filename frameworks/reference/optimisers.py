"""The optimisers of the reference: where each parameter moves, by the formulas of ``core/plugins/optimiser.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dlcompare.core.plugins.optimiser import Optimiser

from .unit import Array


@dataclass(frozen=True)
class Asked:
    """What a step goes by: the optimiser, the momentum, what the parameter decays with, and the steps with this one."""

    optimiser: Optimiser
    momentum: float
    decay: float
    taken: int


def sgd(asked: Asked, weight: Array, gradient: Array, first: Array, second: Array) -> Array:
    first *= asked.momentum
    first += gradient + asked.decay * weight
    return first


def nesterov(asked: Asked, weight: Array, gradient: Array, first: Array, second: Array) -> Array:
    return gradient + asked.decay * weight + asked.momentum * sgd(asked, weight, gradient, first, second)


def adam(asked: Asked, weight: Array, gradient: Array, first: Array, second: Array) -> Array:
    return adaptive(asked, gradient + asked.decay * weight, first, second)


def adamw(asked: Asked, weight: Array, gradient: Array, first: Array, second: Array) -> Array:
    return adaptive(asked, gradient, first, second) + asked.decay * weight


def adaptive(asked: Asked, gradient: Array, first: Array, second: Array) -> Array:
    """Return the step of Kingma and Ba 2015, epsilon beside the corrected root."""
    wanted = asked.optimiser
    first *= wanted.beta1
    first += (1 - wanted.beta1) * gradient
    second *= wanted.beta2
    second += (1 - wanted.beta2) * gradient**2
    c1, c2 = wanted.correction(asked.taken)
    step: Array = (first / c1) / (np.sqrt(second / c2) + wanted.eps)
    return step


Direction = Callable[[Asked, Array, Array, Array, Array], Array]

# Of each the direction in which a weight moves, times the learning rate; the moments are moved on in place.
TABLE: dict[str, Direction] = {"sgd": sgd, "nesterov": nesterov, "adam": adam, "adamw": adamw}


def shortened(gradients: dict[str, Array], most: float | None) -> dict[str, Array]:
    """Return the gradients times what brings the norm of all of them together down to ``most``, if it is larger."""
    if most is None:
        return gradients
    norm = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients.values()))
    return gradients if norm <= most else {name: gradient * (most / norm) for name, gradient in gradients.items()}
