"""Normalisation of the reference: over the batch and over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcompare.core.errors import JobError

from .unit import Array, Call, Gradients, Op


class BatchNorm(Op):
    def forward(self, call: Call) -> tuple[Array, Any]:
        params, axes = {k: channelwise(v, call.x) for k, v in call.params.items()}, all_but_channels(call.x)
        mean, var = params["running_mean"], params["running_var"]
        if call.training:
            check_variance(call)
            mean, var = call.x.mean(axes, keepdims=True), call.x.var(axes, keepdims=True)
        inverse = 1 / np.sqrt(var + call.attrs["eps"])
        unit = (call.x - mean) * inverse
        return unit * params["weight"] + params["bias"], (unit, inverse, mean.ravel(), var.ravel())

    def backward(self, call: Call, saved: Any, grad: Array) -> Gradients:
        unit, inverse, *_ = saved
        axes = all_but_channels(call.x)
        params = {"weight": (grad * unit).sum(axes), "bias": grad.sum(axes)}
        return (unnormalise(grad * channelwise(call.params["weight"], grad), unit, inverse, axes=axes),), params

    def running(self, call: Call, saved: Any) -> dict[str, Array]:
        *_, mean, var = saved
        momentum, count = call.attrs["momentum"], call.x.size // mean.size
        batch = {"running_mean": mean, "running_var": var * self.correction(count)}
        return {k: (1 - momentum) * call.params[k] + momentum * v for k, v in batch.items()}

    def correction(self, count: int) -> float:
        """Return what turns the biased variance of ``count`` values into the unbiased one."""
        return count / (count - 1)


def check_variance(call: Call) -> None:
    if call.x.size == call.x.shape[1]:
        raise JobError(f"batch_norm {call.name!r} sees one value per channel, which has no variance; "
                       "use a larger batch per worker or a larger image")


class LayerNorm(Op):
    def forward(self, call: Call) -> tuple[Array, Any]:
        mean, var = call.x.mean(-1, keepdims=True), call.x.var(-1, keepdims=True)
        inverse = 1 / np.sqrt(var + call.attrs["eps"])
        unit = (call.x - mean) * inverse
        return unit * call.params["weight"] + call.params["bias"], (unit, inverse)

    def backward(self, call: Call, saved: Any, grad: Array) -> Gradients:
        unit, inverse = saved
        leading = tuple(range(grad.ndim - 1))
        params = {"weight": (grad * unit).sum(leading), "bias": grad.sum(leading)}
        return (unnormalise(grad * call.params["weight"], unit, inverse, axes=(-1,)),), params


def unnormalise(grad: Array, unit: Array, inverse: Array, *, axes: tuple[int, ...]) -> Array:
    """Return the gradient through unit = (x - mean) * inverse, where mean and inverse depend on x too."""
    along = (grad * unit).mean(axes, keepdims=True)
    return inverse * (grad - grad.mean(axes, keepdims=True) - unit * along)


def all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def channelwise(values: Array, x: Array) -> Array:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))
