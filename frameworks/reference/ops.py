"""The neutral ops in float64, one small class each, and their table; ``core/graph/ops`` says what they mean."""

from __future__ import annotations

import math

import numpy as np

from dlcompare.core.errors import JobError

from .norms import BatchNorm, LayerNorm
from .patches import AdaptiveAvgPool, AvgPool, Conv, MaxPool
from .recurrent import Gru, Lstm
from .shaping import Concat, Flatten, Fold, Select, Split, Unfold
from .unit import Array, Call, Gradients, Op


class Relu(Op):
    def forward(self, call: Call) -> tuple[Array, Array]:
        return np.maximum(call.x, 0.0), call.x > 0

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        return (grad * saved,), {}


class Gelu(Op):
    def forward(self, call: Call) -> tuple[Array, Array]:
        phi = 0.5 * erfc(-call.x / math.sqrt(2))  # not 1 + erf, which loses the digits of the left tail
        return call.x * phi, phi

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        density = np.exp(-0.5 * call.x**2) / math.sqrt(2 * math.pi)
        return (grad * (saved + call.x * density),), {}


def erfc(x: Array) -> Array:
    """Return the complementary error function to the last digit; NumPy has none, and SciPy is not a dependency."""
    return np.fromiter(map(math.erfc, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


class Tanh(Op):
    def forward(self, call: Call) -> tuple[Array, Array]:
        result = np.tanh(call.x)
        return result, result

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        return (grad * (1 - saved**2),), {}


class Dropout(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        if call.training and call.attrs["rate"] != 0:
            raise JobError(f"dropout {call.name!r} has rate {call.attrs['rate']}, but no two frameworks draw the same "
                           "mask: the reference trains only with rate 0. Set the rate of every dropout to 0")
        return call.x, None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad,), {}


class Add(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.inputs[0] + call.inputs[1], None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad, grad), {}


class Scale(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x * call.attrs["factor"], None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (grad * call.attrs["factor"],), {}


class LayerScale(Op):
    def forward(self, call: Call) -> tuple[Array, Array]:
        factors = call.params["weight"]
        wide = factors[:, None, None] if call.x.ndim == 4 else factors
        return call.x * wide, wide

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        axes = (0, 2, 3) if call.x.ndim == 4 else tuple(range(call.x.ndim - 1))
        return (grad * saved,), {"weight": (grad * call.x).sum(axes)}


class Dense(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x @ call.params["weight"].T + call.params.get("bias", 0.0), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        leading = tuple(range(grad.ndim - 1))
        params = {"weight": np.tensordot(grad, call.x, axes=(leading, leading))}
        if "bias" in call.params:
            params["bias"] = grad.sum(leading)
        return (grad @ call.params["weight"],), params


class Embedding(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        check_indices(call, call.x, count=call.attrs["rows"])
        return call.params["weight"][call.x], None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        weight = np.zeros_like(call.params["weight"])
        np.add.at(weight, call.x.ravel(), grad.reshape(-1, weight.shape[1]))
        return (None,), {"weight": weight}


class PositionEmbedding(Op):
    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x + call.params["weight"][:call.x.shape[1]], None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        weight = np.zeros_like(call.params["weight"])
        weight[:grad.shape[1]] = grad.sum(0)
        return (grad,), {"weight": weight}


class Attention(Op):
    def forward(self, call: Call) -> tuple[Array, Array]:
        query, key, value = self.split(call)
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])  # (B, heads, S, keys)
        weights = softmax(scores + self.bias(call)[:, None, None, :])
        return merge_heads(weights @ value), weights

    def backward(self, call: Call, saved: Array, grad: Array) -> Gradients:
        query, key, value = self.split(call)
        grad = split_heads(grad, call.attrs["heads"])
        weights = grad @ value.swapaxes(-1, -2)
        scores = saved * (weights - (weights * saved).sum(-1, keepdims=True)) / math.sqrt(query.shape[-1])
        parts = scores @ key, scores.swapaxes(-1, -2) @ query, saved.swapaxes(-1, -2) @ grad
        return (*map(merge_heads, parts), None), {}

    def split(self, call: Call) -> list[Array]:
        return [split_heads(x, call.attrs["heads"]) for x in call.inputs[:3]]

    def bias(self, call: Call) -> Array:
        """Return what is added to the scores of each key, (B, keys)."""
        mask = call.inputs[3]
        if not mask.any(-1).all():
            raise JobError(f"attention {call.name!r}: a sequence of the batch has every key masked; keep at least one")
        return np.where(mask == 0, float(np.finfo(np.float32).min), 0.0)


def split_heads(x: Array, heads: int) -> Array:
    """(B, S, F) -> (B, heads, S, F / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def merge_heads(x: Array) -> Array:
    """(B, heads, S, d) -> (B, S, heads * d)."""
    return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


def softmax(x: Array) -> Array:
    """Over the last axis; the maximum is taken off first so that nothing overflows."""
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


class CrossEntropy(Op):
    """The mean is over this worker's share; with equal shares, averaging over workers makes it the global one."""

    def forward(self, call: Call) -> tuple[Array, tuple[Array, Array]]:
        x, label, *weight = call.inputs
        check_indices(call, label, count=x.shape[-1])
        top = x.max(-1)
        log_total = top + np.log(np.exp(x - top[..., None]).sum(-1))
        losses = log_total - np.take_along_axis(x, label[..., None], -1)[..., 0]
        return np.asarray((weight[0] * losses if weight else losses).sum() / len(x)), (softmax(x), losses)

    def backward(self, call: Call, saved: tuple[Array, Array], grad: Array) -> Gradients:
        x, label, *weight = call.inputs
        chances, losses = saved
        slope = (chances - (np.arange(x.shape[-1]) == label[..., None])) * (grad / len(x))
        if not weight:
            return (slope, None), {}
        return (slope * weight[0][..., None], None, losses * (grad / len(x))), {}


class MeanSquare(Op):
    """The mean is over this worker's share, as that of the cross-entropy is."""

    def forward(self, call: Call) -> tuple[Array, None]:
        return np.asarray(np.square(call.x).mean()), None

    def backward(self, call: Call, saved: None, grad: Array) -> Gradients:
        return (call.x * (2 * grad / call.x.size),), {}


def check_indices(call: Call, values: Array, *, count: int) -> None:
    """Raise JobError for an index that has no row; NumPy would count negative ones from the end."""
    wrong = values[(values < 0) | (values >= count)]
    if wrong.size:
        raise JobError(f"{call.name!r} was given index {wrong[0]}; allowed are 0 to {count - 1}. Check the dataset")


TABLE: dict[str, Op] = {
    "conv": Conv(),
    "batch_norm": BatchNorm(),
    "relu": Relu(),
    "gelu": Gelu(),
    "tanh": Tanh(),
    "max_pool": MaxPool(),
    "avg_pool": AvgPool(),
    "adaptive_avg_pool": AdaptiveAvgPool(),
    "flatten": Flatten(),
    "dense": Dense(),
    "dropout": Dropout(),
    "add": Add(),
    "concat": Concat(),
    "scale": Scale(),
    "layer_scale": LayerScale(),
    "embedding": Embedding(),
    "position_embedding": PositionEmbedding(),
    "layer_norm": LayerNorm(),
    "attention": Attention(),
    "lstm": Lstm(),
    "gru": Gru(),
    "select": Select(),
    "cross_entropy": CrossEntropy(),
    "mean_square": MeanSquare(),
    "split": Split(),
    "fold": Fold(),
    "unfold": Unfold(),
}
