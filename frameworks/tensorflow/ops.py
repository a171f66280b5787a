"""The table: neutral op -> native Keras layers, and the walk that makes a functional model of a graph.

Convention: a tensor with three axes besides the batch is stored channels last, (H, W, C), which TensorFlow's CPU
kernels and tensor cores want; every other tensor is stored as the neutral graph has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

from dlcompare.core.graph import Graph, Node
from dlcompare.core.graph.ops.recurrent import RECURRENT
from dlcompare.core.graph.ops.windows import bin_weights, borders, both, reach

from .layers import Apply, BatchNorm, LayerNorm, LayerScale, OverTable, PositionEmbedding
from .recurrent import recurrent, reset_last

KerasTensor = Any
Variables = dict[str, Any]
Builder = Callable[[Node, KerasTensor, Any], "tuple[KerasTensor, Variables]"]  # node, input, precision policy

NATIVE_AXES: dict[int, tuple[int, ...]] = {4: (2, 3, 1, 0), 2: (1, 0)}  # OIHW -> HWIO, (out, in) -> (in, out)
POLICIES = {"fp32": "float32", "tf32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # channels, with the batch axis


@dataclass(frozen=True)
class Weight:
    """One parameter as TensorFlow holds it; ``axes`` is the transposition from the neutral layout, if any.

    ``gates`` puts the gates of one into the other's order, either way.
    """

    variable: Any
    axes: tuple[int, ...] | None
    gates: Callable[[np.ndarray], np.ndarray] = np.asarray

    def load(self, array: np.ndarray) -> None:
        """Set the parameter from its neutral layout; ValueError if the shape does not fit."""
        self.variable.assign(self.gates(array) if self.axes is None else self.gates(array).transpose(self.axes))

    def neutral(self, native: Any) -> np.ndarray:
        """Return a value or gradient of this parameter in float32 and the neutral layout, in memory of its own."""
        array = np.array(native, np.float32)
        return self.gates(array if self.axes is None else np.ascontiguousarray(array.transpose(np.argsort(self.axes))))


@dataclass(frozen=True)
class Network:
    """A graph as symbolic Keras tensors: inputs and every node's result by name, and the parameters by full name."""

    inputs: dict[str, KerasTensor]
    values: dict[str, KerasTensor]
    weights: dict[str, Weight]

    def model(self, nodes: Iterable[str]) -> tf.keras.Model:
        """Return the functional model from all inputs, in order, to these nodes' results by name; layers are shared."""
        return tf.keras.Model(list(self.inputs.values()), {name: self.values[name] for name in nodes})


def network(graph: Graph, precision: str) -> Network:
    """Build every node of a graph once; a mixed policy of Keras has float32 parameters and arithmetic in 16 bits."""
    policy = tf.keras.mixed_precision.Policy(POLICIES[precision])
    inputs = {k: layers.Input(stored_shape(v.shape), dtype=v.dtype, name=k) for k, v in graph.inputs.items()}
    values, weights = dict(inputs), dict[str, Weight]()
    for node in graph.nodes:
        arguments = [values[name] for name in node.inputs]
        result, variables = build(node, arguments, policy, {k: weights[name] for k, name in node.shared.items()})
        values.update(node.named(result))
        for local in node.params.keys() - node.shared.keys():
            axes = None if node.op in TABLES else NATIVE_AXES.get(len(node.params[local].shape))
            weights[node.param_name(local)] = Weight(variables[local], axes, GATES.get(node.op, np.asarray))
    return Network(inputs, values, weights)


def build(node: Node, arguments: list[KerasTensor], policy: Any,
          shared: dict[str, Weight]) -> tuple[Any, Variables]:
    """Return a node's symbolic result, a tuple where there are several, and its variables by local name.

    ``shared`` are the parameters that are another layer's.
    """
    if node.op in CANONICAL:
        arguments = [transpose(x, FIRST) for x in arguments]
    if node.op == "dense" and "weight" in shared and shared["weight"].axes is None:
        result, variables = over_table(node, arguments[0], policy, shared)
    elif node.op in RECURRENT:
        result, variables = recurrent(node, arguments, policy)
    elif node.op in LAYERS:
        with lent(shared):
            result, variables = LAYERS[node.op](node, arguments[0], policy)
    else:
        dtype = policy if node.shape else "float32"  # a scalar is a loss, or made of losses
        result, variables = Apply(FUNCTIONS[node.op](**node.attrs), name=node.name, dtype=dtype)(arguments), {}
    if node.op not in CANONICAL:
        return result, variables
    return (tuple(transpose(x, LAST) for x in result) if node.more else transpose(result, LAST)), variables


@contextmanager
def lent(shared: dict[str, Weight]) -> Iterator[None]:
    """Have the layer that is built in the block use variables that are there already."""
    def create(make: Callable[..., Any], **how: Any) -> Any:
        local = "bias" if how["name"] == "bias" else "weight"
        if local not in shared:
            return make(**how)
        owned = shared[local].variable
        return getattr(owned, "_variable", owned)  # a mixed policy wraps variables, and will wrap this one itself

    with tf.variable_creator_scope(create) if shared else nullcontext():
        yield


def stored_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape, without the batch, in which a tensor of a neutral shape is kept."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def transpose(x: KerasTensor, axes: tuple[int, ...]) -> KerasTensor:
    """Return an image tensor with its axes exchanged, any other as it is."""
    return Apply(lambda t: tf.transpose(t, axes))([x]) if len(x.shape) == 4 else x


def pad_input(x: KerasTensor, node: Node, *, value: float = 0.0) -> tuple[KerasTensor, str]:
    """Return x and the Keras padding mode that together pad as the node's attributes ask.

    SAME where it comes to the same (measured on CPU: explicit padding inside the convolution is up to 1.6 times
    slower), else a padding op and VALID, as keras.applications do.
    """
    stride, ceil = node.attrs["stride"], node.attrs.get("ceil", False)
    spans = (reach(kernel, node.attrs.get("dilation", 1)) for kernel in both(node.attrs["kernel"]))
    axes = list(zip(x.shape[1:3], spans, both(stride), both(node.attrs["pad"]), strict=True))
    wanted = [borders(size, span, step, pad, ceil=ceil) for size, span, step, pad in axes]
    if not np.any(wanted):
        return x, "valid"
    if wanted == [same_padding(size, span, step) for size, span, step, _ in axes]:
        return x, "same"
    around = ((0, 0), *wanted, (0, 0))
    return Apply(lambda t: tf.pad(t, around, constant_values=value), dtype=x.dtype)([x]), "valid"


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return what TensorFlow's SAME puts before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    x, padding = pad_input(x, node)
    layer = layers.Conv2D(node.attrs["filters"], node.attrs["kernel"], strides=node.attrs["stride"], padding=padding,
                          dilation_rate=node.attrs.get("dilation", 1), use_bias=node.attrs["bias"],
                          kernel_initializer="zeros", name=node.name, dtype=policy)
    return layer(x), {"weight": layer.kernel, "bias": layer.bias}


def max_pool(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    x, padding = pad_input(x, node, value=-np.inf)
    kernel, stride = node.attrs["kernel"], node.attrs["stride"]
    return layers.MaxPooling2D(kernel, stride, padding, name=node.name, dtype=policy)(x), {}


def avg_pool(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    pad = node.attrs["pad"]
    x = layers.ZeroPadding2D(pad, dtype=policy)(x) if pad else x  # never SAME: it leaves the padding out of the mean
    return layers.AveragePooling2D(node.attrs["kernel"], node.attrs["stride"], name=node.name, dtype=policy)(x), {}


def batch_norm(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = BatchNorm(**node.attrs, name=node.name, dtype=policy)
    return layer(x), {"weight": layer.gamma, "bias": layer.beta, "running_mean": layer.mean,
                      "running_var": layer.variance}


def dense(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = layers.Dense(node.attrs["features"], use_bias=node.attrs["bias"], kernel_initializer="zeros",
                         name=node.name, dtype=policy)
    return layer(x), {"weight": layer.kernel, "bias": layer.bias}


def over_table(node: Node, x: KerasTensor, policy: Any, shared: dict[str, Weight]) -> tuple[KerasTensor, Variables]:
    layer = OverTable(shared["weight"].variable, use_bias=node.attrs["bias"], name=node.name, dtype=policy)
    return layer(x), {"bias": layer.bias}


def dropout(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    """Masks come from a generator of the layer's own: XLA on a CPU knows no seed, and draws the same on every rank."""
    return layers.Dropout(node.attrs["rate"], rng_type="stateful", name=node.name, dtype=policy)(x), {}


def embedding(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = layers.Embedding(node.attrs["rows"], node.attrs["features"], embeddings_initializer="zeros",
                             name=node.name, dtype=policy)
    return layer(x), {"weight": layer.embeddings}


def position_embedding(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = PositionEmbedding(node.attrs["rows"], name=node.name, dtype=policy)
    return layer(x), {"weight": layer.table}


def layer_norm(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = LayerNorm(**node.attrs, name=node.name, dtype=policy)
    return layer(x), {"weight": layer.gamma, "bias": layer.beta}


def layer_scale(node: Node, x: KerasTensor, policy: Any) -> tuple[KerasTensor, Variables]:
    layer = LayerScale(name=node.name, dtype=policy)
    return layer(x), {"weight": layer.factor}


def adaptive_avg_pool(size: int) -> Callable[[Any], Any]:
    def pool(x: Any) -> Any:
        height, width = x.shape[1:3]
        if size == height == width:
            return x
        if size == 1:
            return tf.reduce_mean(x, (1, 2), keepdims=True)
        rows, columns = (tf.constant(bin_weights(n, size), x.dtype) for n in (height, width))
        return tf.einsum("ih,nhwc,jw->nijc", rows, x, columns)

    return pool


def attention(heads: int) -> Callable[..., Any]:
    def attend(query: Any, key: Any, value: Any, mask: Any) -> Any:
        length, features = query.shape[1:]
        depth = features // heads

        def split(x: Any) -> Any:
            return tf.transpose(tf.reshape(x, (-1, x.shape[1], heads, depth)), (0, 2, 1, 3))  # (N, heads, S, depth)

        scores = tf.matmul(split(query) * depth**-0.5, split(key), transpose_b=True)
        blocked = tf.cast(mask == 0, tf.float32)[:, None, None, :] * tf.float32.min
        weights = tf.nn.softmax(tf.cast(scores, tf.float32) + blocked)
        mixed = tf.matmul(tf.cast(weights, query.dtype), split(value))
        return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, length, features))

    return attend


def select(index: int, axis: int) -> Callable[[Any], Any]:
    def take(x: Any) -> Any:
        where: list[Any] = [slice(None)] * x.shape.rank
        where[axis if axis < 0 else axis + 1] = index
        return x[tuple(where)]  # a strided slice, whose gradient is cheaper than that of tf.gather

    return take


def cross_entropy(logits: Any, label: Any, weight: Any = None) -> Any:
    """The mean over this rank's share: shares are equal, so averaging over ranks gives the global mean."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
    if weight is None:
        return tf.reduce_mean(losses)
    return tf.reduce_sum(losses * weight) / tf.cast(tf.shape(losses)[0], tf.float32)


LAYERS: dict[str, Builder] = {
    "conv": conv, "batch_norm": batch_norm, "dense": dense, "embedding": embedding, "layer_norm": layer_norm,
    "position_embedding": position_embedding, "max_pool": max_pool, "avg_pool": avg_pool, "dropout": dropout,
    "layer_scale": layer_scale,
}
FUNCTIONS: dict[str, Callable[..., Callable[..., Any]]] = {  # attributes -> function of tensors
    "relu": lambda: tf.nn.relu,
    "gelu": lambda: lambda x: tf.nn.gelu(x, approximate=False),
    "tanh": lambda: tf.tanh,
    "add": lambda: tf.add,
    "concat": lambda: lambda *images: tf.concat(images, -1),
    "scale": lambda factor: lambda x: x * factor,
    "flatten": lambda: lambda x: tf.reshape(x, (-1, int(np.prod(x.shape[1:])))),
    "select": select,
    "adaptive_avg_pool": adaptive_avg_pool,
    "attention": attention,
    "cross_entropy": lambda: cross_entropy,
    "mean_square": lambda: lambda x: tf.reduce_mean(tf.square(x)),
    "split": lambda sizes, axis: lambda x: tf.split(x, sizes, axis if axis < 0 else axis + 1),
    "fold": lambda: lambda x: tf.reshape(x, (-1, *x.shape[2:])),
    "unfold": lambda size: lambda x: tf.reshape(x, (-1, size, *x.shape[1:])),
}
# These mean the neutral axes.
CANONICAL = {"flatten", "dense", "embedding", "layer_norm", "select", "cross_entropy", "split", "fold", "unfold"}
GATES = {"gru": reset_last}
TABLES = {"embedding", "position_embedding"}  # their weights are (rows, features) on both sides
