"""The table: neutral op -> native Gluon block, and the block that walks some nodes of a graph."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mxnet.gluon import HybridBlock, Parameter, nn

from dlcompare.core.graph import Graph, Node, Shape
from dlcompare.core.graph.ops.windows import both

from .recurrent import Recurrent

Value = Any  # an NDArray, or a Symbol while a hybridised block is traced
LOWEST = -3.4028234e38  # of float32


class Network(HybridBlock):
    """Some nodes, in order, as one block; hybridised, they are walked in Python once, when it is traced."""

    def __init__(self, graph: Graph, nodes: Sequence[Node], outputs: Sequence[str], *,
                 blocks: Mapping[str, HybridBlock]) -> None:
        super().__init__()
        self.nodes, self.outputs = nodes, outputs
        self.inputs = [k for k in graph.inputs if any(k in node.inputs for node in nodes)]
        for node in nodes:
            self.register_child(blocks[node.name], node.name)

    def hybrid_forward(self, F: Any, *inputs: Value) -> list[Value]:
        values = dict(zip(self.inputs, inputs, strict=True))
        for node in self.nodes:
            values.update(node.named(self._children[node.name](*[values[name] for name in node.inputs])))
        return [values[name] for name in self.outputs]


class Function(HybridBlock):
    """A function of MXNet's operators and some tensors, as a block."""

    def __init__(self, function: Callable[..., Value]) -> None:
        super().__init__()
        self.function = function

    def hybrid_forward(self, F: Any, *inputs: Value) -> Value:
        return self.function(F, *inputs)


class PositionEmbedding(HybridBlock):
    """Adds the first rows of a learned table to (batch, length, features)."""

    def __init__(self, rows: int, length: int, features: int) -> None:
        super().__init__()
        self.length = length
        self.weight = self.params.get("weight", shape=(rows, features))

    def hybrid_forward(self, F: Any, x: Value, weight: Value) -> Value:
        return F.broadcast_add(x, F.expand_dims(F.slice_axis(weight, axis=0, begin=0, end=self.length), axis=0))


class LayerScale(HybridBlock):
    """Multiplies each channel, or each element of the last axis, by a learned factor."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wide = (1, -1, 1, 1) if len(shape) == 3 else (1,) * len(shape) + (-1,)
        self.weight = self.params.get("weight", shape=(shape[0 if len(shape) == 3 else -1],))

    def hybrid_forward(self, F: Any, x: Value, weight: Value) -> Value:
        return F.broadcast_mul(x, F.reshape(weight, shape=self.wide))


def build(graph: Graph) -> dict[str, HybridBlock]:
    """Return a native block per node, by its name."""
    shapes, blocks, made = graph.shapes(), dict[str, HybridBlock](), dict[str, Parameter]()
    for node in graph.nodes:
        block = blocks[node.name] = TABLE[node.op](node, [shapes[name] for name in node.inputs])
        for local, name in node.shared.items():
            share(block, native(node, local), made[name])
        made.update({node.param_name(local): getattr(block, native(node, local)) for local in node.params})
    return blocks


def share(block: HybridBlock, local: str, parameter: Parameter) -> None:
    """Have a block use another one's parameter; Gluon's own way, when a block is made, shares names that it has not."""
    own = block._reg_params.pop(local)
    block.params._params.pop(own.name)
    block.params.update({parameter.name: parameter})
    setattr(block, local, parameter)


def parameters(graph: Graph, blocks: Mapping[str, HybridBlock]) -> dict[str, Parameter]:
    """Return the native parameters by neutral name; layouts are the neutral ones."""
    return {node.param_name(local): getattr(blocks[node.name], native(node, local))
            for node in graph.nodes for local in node.params}


def native(node: Node, local: str) -> str:
    """Return what Gluon calls a parameter."""
    return RENAMED.get((node.op, local), local)


def adaptive_avg_pool(size: int, shape: Shape) -> HybridBlock:
    if shape[1:] == (size, size):
        return Function(lambda F, x: F.identity(x))
    return nn.GlobalAvgPool2D() if size == 1 else Function(
        lambda F, x: F.contrib.AdaptiveAvgPooling2D(x, output_size=size))


def dropout(rate: float) -> HybridBlock:
    return nn.Dropout(rate) if rate else Function(lambda F, x: F.identity(x))


def attention(heads: int, shape: Shape) -> HybridBlock:
    scale = (shape[-1] // heads) ** -0.5

    def split(F: Any, x: Value) -> Value:  # (N, S, features) -> (N * heads, S, depth)
        apart = F.reshape(x, shape=(0, 0, -4, heads, -1))
        return F.reshape(F.transpose(apart, axes=(0, 2, 1, 3)), shape=(-3, 0, 0))

    def attend(F: Any, query: Value, key: Value, value: Value, mask: Value) -> Value:
        scores = F.batch_dot(split(F, query * scale), split(F, key), transpose_b=True)
        blocked = F.cast(mask == 0, dtype="float32") * LOWEST
        scores = F.reshape(scores, shape=(-4, -1, heads, 0, 0))  # (N, heads, S, S)
        weights = F.softmax(F.broadcast_add(scores, F.reshape(blocked, shape=(0, 1, 1, -1))))
        mixed = F.batch_dot(F.reshape(weights, shape=(-3, 0, 0)), split(F, value))
        together = F.transpose(F.reshape(mixed, shape=(-4, -1, heads, 0, 0)), axes=(0, 2, 1, 3))
        return F.reshape(together, shape=(0, 0, -3))

    return Function(attend)


def select(index: int, axis: int, shape: Shape) -> HybridBlock:
    axis %= len(shape)
    begin = index % shape[axis]
    return Function(lambda F, x: F.squeeze(F.slice_axis(x, axis=axis + 1, begin=begin, end=begin + 1), axis=axis + 1))


def split_axis(sizes: Sequence[int], axis: int) -> HybridBlock:
    ends = list(itertools.accumulate(sizes))
    return Function(lambda F, x: tuple(F.slice_axis(x, axis=axis, begin=end - size, end=end)
                                       for size, end in zip(sizes, ends, strict=True)))


def cross_entropy(F: Any, logits: Value, label: Value, weight: Value | None = None, *, places: int) -> Value:
    """The mean over this rank's share: shares are equal, so averaging over ranks gives the global mean.

    With weights a sample's ``places`` are added up.

    The gradient of ``log_softmax`` is exp of its rounded result, up to some units in the last place too large or too
    small for all classes alike, which adds up in the biases before it; so the steps are written out.
    """
    x = F.broadcast_sub(logits, F.BlockGrad(F.max(logits, axis=-1, keepdims=True)))
    losses = F.log(F.sum(F.exp(x), axis=-1)) - F.pick(x, label)
    return F.mean(losses) if weight is None else F.mean(losses * weight) * places


Maker = Callable[[Node, Sequence[Shape]], HybridBlock]

TABLE: dict[str, Maker] = {
    "conv": lambda n, s: nn.Conv2D(n.attrs["filters"], n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"],
                                   both(n.attrs.get("dilation", 1)), use_bias=n.attrs["bias"], in_channels=s[0][0]),
    "batch_norm": lambda n, s: nn.BatchNorm(momentum=1 - n.attrs["momentum"], epsilon=n.attrs["eps"],
                                            in_channels=s[0][0]),
    "relu": lambda n, s: nn.Activation("relu"),
    "gelu": lambda n, s: nn.GELU(),
    "tanh": lambda n, s: nn.Activation("tanh"),
    "max_pool": lambda n, s: nn.MaxPool2D(n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"],
                                         ceil_mode=n.attrs["ceil"]),
    "avg_pool": lambda n, s: nn.AvgPool2D(n.attrs["kernel"], n.attrs["stride"], n.attrs["pad"]),
    "adaptive_avg_pool": lambda n, s: adaptive_avg_pool(n.attrs["size"], s[0]),
    "flatten": lambda n, s: nn.Flatten(),
    "dense": lambda n, s: nn.Dense(n.attrs["features"], use_bias=n.attrs["bias"], flatten=False, in_units=s[0][-1]),
    "dropout": lambda n, s: dropout(n.attrs["rate"]),
    "add": lambda n, s: Function(lambda F, x, y: x + y),
    "concat": lambda n, s: Function(lambda F, *images: F.concat(*images, dim=1)),
    "scale": lambda n, s: Function(lambda F, x: x * n.attrs["factor"]),
    "layer_scale": lambda n, s: LayerScale(s[0]),
    "embedding": lambda n, s: nn.Embedding(n.attrs["rows"], n.attrs["features"]),
    "position_embedding": lambda n, s: PositionEmbedding(n.attrs["rows"], *s[0]),
    "layer_norm": lambda n, s: nn.LayerNorm(epsilon=n.attrs["eps"], in_channels=s[0][-1]),
    "attention": lambda n, s: attention(n.attrs["heads"], s[0]),
    "lstm": Recurrent,
    "gru": Recurrent,
    "select": lambda n, s: select(n.attrs["index"], n.attrs["axis"], s[0]),
    "cross_entropy": lambda n, s: Function(functools.partial(cross_entropy, places=math.prod(s[1]))),
    "mean_square": lambda n, s: Function(lambda F, x: F.mean(F.square(F.cast(x, dtype="float32")))),
    "split": lambda n, s: split_axis(n.attrs["sizes"], n.attrs["axis"] % len(s[0]) + 1),
    "fold": lambda n, s: Function(lambda F, x: F.reshape(x, shape=(-3, -2))),
    "unfold": lambda n, s: Function(lambda F, x: F.reshape(x, shape=(-4, -1, n.attrs["size"], -2))),
}
RENAMED = {(op, local): native for op in ("batch_norm", "layer_norm")
           for local, native in (("weight", "gamma"), ("bias", "beta"))}
