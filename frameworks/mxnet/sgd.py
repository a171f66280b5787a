"""The optimiser: v = momentum * v + g + weight_decay * w; w = w - lr * v, by MXNet's fused kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mxnet import nd


class Sgd:
    """The kernel keeps u = -lr * v: u = momentum * u - lr * (g + weight_decay * w); w = w + u.

    When the learning rate changes, ``momentum`` is given in proportion, so that u is -lr * v for the new one. A rate of
    0 would lose v: u then stays in terms of the last rate, and the new weights are thrown away.
    """

    def __init__(self, weights: Sequence[Any], gradients: Sequence[Any], *, momentum: float, weight_decay: float,
                 workers: int) -> None:
        self.slots = [(w, g, nd.zeros_like(w)) for w, g in zip(weights, gradients, strict=True)]
        self.momentum = momentum
        self.fixed = {"wd": weight_decay, "rescale_grad": 1 / workers}  # the gradients are sums over workers
        self.lr = 1.0  # the one that is in u, which is 0 yet

    def step(self, lr: float) -> None:
        inside = lr or self.lr
        momentum = self.momentum * inside / self.lr
        for weight, gradient, u in self.slots:
            nd.sgd_mom_update(weight, gradient, u, out=weight if lr else nd.zeros_like(weight), lr=inside,
                              momentum=momentum, **self.fixed)
        self.lr = inside
