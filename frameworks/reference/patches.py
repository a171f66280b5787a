"""Convolution and pooling of the reference: whatever slides over an image, and the adaptive mean."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dlcompare.core.graph.ops.windows import both

from .unit import Array, Call, Gradients, Op

Borders = tuple[tuple[int, int], tuple[int, int]]


class Window(Op):
    """What convolution and pooling share: borders, windows, and the transpose of taking windows."""

    def borders(self, call: Call) -> Borders:
        """Return how many pixels go (above, below) and (left, right)."""
        (above, left), (height, width) = both(call.attrs["pad"]), call.x.shape[2:]
        return (above, above + self.excess(call, height)), (left, left + self.excess(call, width))

    def excess(self, call: Call, pixels: int) -> int:
        """Return by how many pixels the last window sticks out of an axis: only where ``ceil`` asks for it."""
        if not call.attrs.get("ceil"):
            return 0
        kernel, stride, pad = (call.attrs[k] for k in ("kernel", "stride", "pad"))
        starts = range(0, pixels + 2 * pad - kernel + stride, stride)
        return starts[-1] + kernel - (pixels + 2 * pad)

    def windows(self, call: Call, *, fill: float = 0.0) -> Array:
        """Return a view (B, C, OH, OW, KH, KW) of the padded input."""
        (down, right), apart = both(call.attrs["stride"]), call.attrs.get("dilation", 1)
        spans = tuple(apart * (taps - 1) + 1 for taps in both(call.attrs["kernel"]))
        padded = np.pad(call.x, ((0, 0), (0, 0), *self.borders(call)), constant_values=fill)
        return sliding_window_view(padded, spans, axis=(2, 3))[:, :, ::down, ::right, ::apart, ::apart]

    def spread(self, call: Call, parts: Array) -> Array:
        """Add the gradients of all windows, (KH, KW, B, C, OH, OW), where their pixels came from."""
        (down, across), apart = both(call.attrs["stride"]), call.attrs.get("dilation", 1)
        (top, bottom), (left, right) = self.borders(call)
        batch, channels, height, width = call.x.shape
        rows, columns = down * parts.shape[-2], across * parts.shape[-1]
        total = np.zeros((batch, channels, top + height + bottom, left + width + right))
        for i, j in np.ndindex(both(call.attrs["kernel"])):
            y, x = i * apart, j * apart
            total[:, :, y:y + rows:down, x:x + columns:across] += parts[i, j]
        return total[:, :, top:top + height, left:left + width]


class Conv(Window):
    def forward(self, call: Call) -> tuple[Array, Array]:
        windows = self.windows(call)
        result = np.tensordot(windows, call.params["weight"], axes=((1, 4, 5), (1, 2, 3)))  # (B, OH, OW, F)
        if "bias" in call.params:
            result += call.params["bias"]
        return np.ascontiguousarray(np.moveaxis(result, -1, 1)), windows

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        parts = np.tensordot(call.params["weight"], grad, axes=(0, 1))  # (C, KH, KW, B, OH, OW)
        params = {"weight": np.tensordot(grad, saved, axes=((0, 2, 3), (0, 2, 3)))}
        if "bias" in call.params:
            params["bias"] = grad.sum((0, 2, 3))
        return (self.spread(call, parts.transpose(1, 2, 3, 0, 4, 5)),), params


class MaxPool(Window):
    """Of several equal maxima the first of the window, in row-major order, receives the whole gradient."""

    def forward(self, call: Call) -> tuple[Array, Array]:
        windows = self.windows(call, fill=-np.inf)
        flat = windows.reshape(*windows.shape[:4], -1)
        first = flat.argmax(-1)
        return np.take_along_axis(flat, first[..., None], -1)[..., 0], first

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        kernel = call.attrs["kernel"]
        places = np.arange(kernel * kernel).reshape(kernel, kernel, 1, 1, 1, 1)
        return (self.spread(call, np.where(saved == places, grad, 0.0)),), {}


class AvgPool(Window):
    def forward(self, call: Call) -> tuple[Array, None]:
        return self.windows(call).mean((-2, -1)), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        kernel = call.attrs["kernel"]
        return (self.spread(call, np.broadcast_to(grad / kernel**2, (kernel, kernel, *grad.shape))),), {}


class AdaptiveAvgPool(Op):
    """A bin is a rectangle, so its mean is a product of two means over an axis: one small matrix for each."""

    def forward(self, call: Call) -> tuple[Array, tuple[Array, Array]]:
        rows, columns = (bins(call.attrs["size"], n) for n in call.x.shape[2:])
        return rows @ call.x @ columns.T, (rows, columns)

    def backward(self, call: Call, saved: tuple[Array, Array], grad: Array) -> Gradients:
        rows, columns = saved
        return (rows.T @ grad @ columns,), {}


def bins(size: int, pixels: int) -> Array:
    """Return the matrix (size, pixels) whose row i takes the mean over bin i."""
    matrix = np.zeros((size, pixels))
    for i in range(size):
        start, stop = i * pixels // size, -(-(i + 1) * pixels // size)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix
