"""The optimisers by MXNet's fused kernels, where these can be made to compute what is pinned, else written out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mxnet import nd

from dlcompare.core.plugins.job import Job, decay_of
from dlcompare.core.plugins.optimiser import ADAMW, NESTEROV, SGD, parse


class Optimiser(ABC):
    """Moves weights in place; gradients are sums over workers, ``decays`` has the weight decay of each weight."""

    def __init__(self, weights: Sequence[Any], gradients: Sequence[Any], job: Job) -> None:
        decays = [decay_of(job, weight.shape) for weight in weights]
        self.slots = [(w, g, nd.zeros_like(w), wd) for w, g, wd in zip(weights, gradients, decays, strict=True)]
        self.job, self.share = job, 1 / job.workers

    def step(self, lr: float) -> None:
        """Take one step with this learning rate."""
        if self.job.clip is not None:
            self.shorten(self.job.clip)
        self.move(lr)

    @abstractmethod
    def move(self, lr: float) -> None:
        """Move the weights by the gradients as they are."""

    def shorten(self, most: float) -> None:
        """Bring the norm of all gradients together, averaged over workers, down to ``most``."""
        gradients = [gradient for _, gradient, *_ in self.slots]
        norm = nd.sqrt(nd.add_n(*[nd.sum(nd.square(gradient)) for gradient in gradients])) * self.share
        share = nd.minimum(most / norm, 1.0)
        for gradient in gradients:
            gradient[:] = nd.broadcast_mul(gradient, share.reshape((1,) * gradient.ndim))


class Sgd(Optimiser):
    """v = momentum * v + g + weight_decay * w; w = w - lr * v.

    The kernel keeps u = -lr * v: u = momentum * u - lr * (g + weight_decay * w); w = w + u. When the learning rate
    changes, ``momentum`` is given in proportion, so that u is -lr * v for the new one. A rate of 0 would lose v: u then
    stays in terms of the last rate, and the new weights are thrown away.
    """

    lr = 1.0  # the one that is in u, which is 0 yet

    def move(self, lr: float) -> None:
        inside = lr or self.lr
        momentum = self.job.momentum * inside / self.lr
        for weight, gradient, u, wd in self.slots:
            nd.sgd_mom_update(weight, gradient, u, out=weight if lr else nd.zeros_like(weight), lr=inside,
                              momentum=momentum, wd=wd, rescale_grad=self.share)
        self.lr = inside


class Nesterov(Optimiser):
    """v = momentum * v + g + weight_decay * w; w = w - lr * (g + weight_decay * w + momentum * v), written out.

    MXNet's kernel keeps the learning rate inside the velocity.
    """

    def move(self, lr: float) -> None:
        momentum = self.job.momentum
        for weight, gradient, v, wd in self.slots:
            fresh = gradient * self.share + wd * weight
            v[:] = momentum * v + fresh
            weight[:] = weight - lr * (fresh + momentum * v)


class Adam(Optimiser):
    """Adam, and AdamW, by the kernel of Adam: it takes no corrections, and is given them with lr and epsilon.

    AdamW's weight decay goes first: MXNet's own kernel of it does not multiply that by the learning rate.
    """

    def __init__(self, weights: Sequence[Any], gradients: Sequence[Any], job: Job) -> None:
        super().__init__(weights, gradients, job)
        self.second = [nd.zeros_like(weight) for weight in weights]
        self.asked, self.taken = parse(job.optimiser).in_float32, 0

    def move(self, lr: float) -> None:
        self.taken += 1
        folded, eps = self.asked.folded(lr, self.taken)
        apart = self.asked.name == ADAMW
        for (weight, gradient, first, wd), second in zip(self.slots, self.second, strict=True):
            if apart and wd:
                weight *= 1 - lr * wd
            nd.adam_update(weight, gradient, first, second, out=weight, lr=folded, beta1=self.asked.beta1,
                           beta2=self.asked.beta2, epsilon=eps, wd=0.0 if apart else wd, rescale_grad=self.share)


def optimiser(weights: Sequence[Any], gradients: Sequence[Any], job: Job) -> Optimiser:
    """Return the job's optimiser."""
    return {SGD: Sgd, NESTEROV: Nesterov}.get(parse(job.optimiser).name, Adam)(weights, gradients, job)
