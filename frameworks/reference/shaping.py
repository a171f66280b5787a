"""What the reference does to shapes alone: flattening, cutting, joining, and folding an axis into the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .unit import Array, Call, Gradients, Op


class Flatten(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x.reshape(len(call.x), -1), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad.reshape(call.x.shape),), {}


class Select(Op):
    def place(self, call: Call) -> tuple[Any, ...]:
        axis = call.attrs["axis"] % (call.x.ndim - 1) + 1
        return (slice(None),) * axis + (call.attrs["index"],)

    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x[self.place(call)], None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        total = np.zeros_like(call.x)
        total[self.place(call)] = grad
        return (total,), {}


class Concat(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return np.concatenate(call.inputs, axis=1), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        ends = np.cumsum([x.shape[1] for x in call.inputs])
        return tuple(np.split(grad, ends[:-1], axis=1)), {}


class Split(Op):
    def stretches(self, call: Call) -> list[tuple[slice, ...]]:
        """Return where each stretch lies."""
        axis, ends = call.attrs["axis"] % (call.x.ndim - 1) + 1, np.cumsum(call.attrs["sizes"]).tolist()
        return [(slice(None),) * axis + (slice(end - size, end),)
                for end, size in zip(ends, call.attrs["sizes"], strict=True)]

    def forward(self, call: Call) -> tuple[tuple[Array, ...], None]:
        return tuple(call.x[place] for place in self.stretches(call)), None

    def backward(self, call: Call, saved: None, grad: tuple[Array, ...]) -> Gradients:
        total = np.zeros_like(call.x)
        for place, part in zip(self.stretches(call), grad, strict=True):
            total[place] = part
        return (total,), {}


class Fold(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x.reshape(-1, *call.x.shape[2:]), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad.reshape(call.x.shape),), {}


class Unfold(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x.reshape(-1, call.attrs["size"], *call.x.shape[1:]), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad.reshape(call.x.shape),), {}
