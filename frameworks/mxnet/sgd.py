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

    def __init__(self, weights: Sequence[Any], gradients: Sequence[Any], *, momentum: float,
                 decays: Sequence[float], workers: int) -> None:
        """Take the weights, their gradients, which are sums over workers, and the weight decay of each."""
        self.slots = [(w, g, nd.zeros_like(w), wd) for w, g, wd in zip(weights, gradients, decays, strict=True)]
        self.momentum, self.share = momentum, 1 / workers
        self.lr = 1.0  # the one that is in u, which is 0 yet

    def step(self, lr: float) -> None:
        inside = lr or self.lr
        momentum = self.momentum * inside / self.lr
        for weight, gradient, u, wd in self.slots:
            nd.sgd_mom_update(weight, gradient, u, out=weight if lr else nd.zeros_like(weight), lr=inside,
                              momentum=momentum, wd=wd, rescale_grad=self.share)
        self.lr = inside
