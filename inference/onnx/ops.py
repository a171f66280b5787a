"""The neutral ops as ONNX: a function each, which adds the nodes and returns the tensor they make, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.graph import Node
from dlcompare.core.graph.ops.recurrent import parts
from dlcompare.core.graph.ops.windows import bin_weights, borders, both

if TYPE_CHECKING:
    from .writer import Writer

LOWEST = float(np.finfo(np.float32).min)
Rule = Callable[["Writer", Node], "str | tuple[str, ...]"]  # a tuple of several results


def conv(w: Writer, node: Node) -> str:
    kernel, pad = both(node.attrs["kernel"]), both(node.attrs["pad"])
    spread = {"dilations": both(node.attrs["dilation"])} if "dilation" in node.attrs else {}
    if node.name in w.folded:
        weight, bias = fold(w, node, w.folded[node.name])
        inputs = [w.constant(f"{node.name}.weight", weight), w.constant(f"{node.name}.bias", bias)]
    else:
        inputs = [w.weight(node, local) for local in node.params]
    return w.add(node.name, "Conv", w.x(node), *inputs, kernel_shape=kernel, strides=both(node.attrs["stride"]),
                 pads=(*pad, *pad), **spread)


def fold(w: Writer, node: Node, norm: Node) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of the convolution that does what both do, in float64."""
    scale, shift, mean, var = (w.param(norm, k).astype(np.float64)
                               for k in ("weight", "bias", "running_mean", "running_var"))
    factor = scale / np.sqrt(var + norm.attrs["eps"])
    bias = w.param(node, "bias").astype(np.float64) if "bias" in node.params else 0.0
    return w.param(node, "weight") * factor[:, None, None, None], shift + (bias - mean) * factor


def batch_norm(w: Writer, node: Node) -> str:
    if node in w.folded.values():
        return w.x(node)
    inputs = [w.weight(node, k) for k in ("weight", "bias", "running_mean", "running_var")]
    return w.add(node.name, "BatchNormalization", w.x(node), *inputs, epsilon=node.attrs["eps"])


def same(w: Writer, node: Node) -> str:
    """What does nothing in evaluation makes no node."""
    return w.x(node)


def unary(kind: str) -> Rule:
    return lambda w, node: w.add(node.name, kind, w.x(node))


def gelu(w: Writer, node: Node) -> str:
    """Spelt as PyTorch exports it, x / sqrt(2) first, the halving last: the pattern that engines fuse."""
    name, x = node.name, w.x(node)
    root, one = w.constant(f"{name}/root", math.sqrt(2)), w.constant(f"{name}/one", 1)
    erf = w.add(f"{name}/erf", "Erf", w.add(f"{name}/divided", "Div", x, root))
    doubled = w.add(f"{name}/doubled", "Mul", x, w.add(f"{name}/raised", "Add", erf, one))
    return w.add(name, "Mul", doubled, w.constant(f"{name}/half", 0.5))


def pool(kind: str, **attrs: int) -> Rule:
    """Rounding up is written as padding, for engines differ in what ``ceil_mode`` does with padding."""
    def rule(w: Writer, node: Node) -> str:
        kernel, stride, pad = (node.attrs[k] for k in ("kernel", "stride", "pad"))
        (top, bottom), (left, right) = (borders(n, kernel, stride, pad, ceil=node.attrs.get("ceil", False))
                                        for n in w.shape(node)[1:])
        return w.add(node.name, kind, w.x(node), kernel_shape=[kernel] * 2, strides=[stride] * 2,
                     pads=[top, left, bottom, right], **attrs)

    return rule


def adaptive_avg_pool(w: Writer, node: Node) -> str:
    """The plainest op that does it: none, a global mean, equal bins, else two products with the bins' weights."""
    size, (_, *pixels) = node.attrs["size"], w.shape(node)
    if pixels == [size, size]:
        return w.x(node)
    if size == 1:
        return w.add(node.name, "GlobalAveragePool", w.x(node))
    if not any(n % size for n in pixels):
        kernel = [n // size for n in pixels]
        return w.add(node.name, "AveragePool", w.x(node), kernel_shape=kernel, strides=kernel)
    rows, columns = (np.array(bin_weights(n, size)) for n in pixels)
    tall = w.add(f"{node.name}/tall", "MatMul", w.x(node), w.constant(f"{node.name}/columns", columns.T))
    return w.add(node.name, "MatMul", w.constant(f"{node.name}/rows", rows), tall)


def flatten(w: Writer, node: Node) -> str:
    return w.x(node) if len(w.shape(node)) == 1 else w.add(node.name, "Flatten", w.x(node), axis=1)


def dense(w: Writer, node: Node) -> str:
    if len(node.shape) == 1:
        return w.add(node.name, "Gemm", w.x(node), *(w.weight(node, local) for local in node.params), transB=1)
    weight = w.constant(f"{node.name}.weight", w.param(node, "weight").T)
    if "bias" not in node.params:
        return w.add(node.name, "MatMul", w.x(node), weight)
    return w.add(node.name, "Add", w.add(f"{node.name}/product", "MatMul", w.x(node), weight), w.weight(node, "bias"))


def add(w: Writer, node: Node) -> str:
    return w.add(node.name, "Add", w.x(node, 0), w.x(node, 1))


def concat(w: Writer, node: Node) -> str:
    return w.add(node.name, "Concat", *(w.x(node, index) for index in range(len(node.inputs))), axis=1)


def scale(w: Writer, node: Node) -> str:
    return w.add(node.name, "Mul", w.x(node), w.constant(f"{node.name}/factor", node.attrs["factor"]))


def layer_scale(w: Writer, node: Node) -> str:
    factors = w.param(node, "weight")
    wide = factors[:, None, None] if len(node.shape) == 3 else factors
    return w.add(node.name, "Mul", w.x(node), w.constant(node.param_name("weight"), wide))


def embedding(w: Writer, node: Node) -> str:
    return w.add(node.name, "Gather", w.weight(node, "weight"), w.x(node))


def position_embedding(w: Writer, node: Node) -> str:
    rows = w.param(node, "weight")[:node.shape[0]]  # the others are never read
    return w.add(node.name, "Add", w.x(node), w.constant(node.param_name("weight"), rows))


def layer_norm(w: Writer, node: Node) -> str:
    """Spelt so that engines fuse it; see ``OPSET`` in export.py."""
    name, x = node.name, w.x(node)
    centred = w.add(f"{name}/centred", "Sub", x, w.add(f"{name}/mean", "ReduceMean", x, axes=[-1]))
    squared = w.add(f"{name}/squared", "Pow", centred, w.constant(f"{name}/two", 2))
    var = w.add(f"{name}/var", "ReduceMean", squared, axes=[-1])
    raised = w.add(f"{name}/raised", "Add", var, w.constant(f"{name}/eps", node.attrs["eps"]))
    unit = w.add(f"{name}/unit", "Div", centred, w.add(f"{name}/deviation", "Sqrt", raised))
    return w.add(name, "Add", w.add(f"{name}/scaled", "Mul", unit, w.weight(node, "weight")), w.weight(node, "bias"))


def attention(w: Writer, node: Node) -> str:
    """Split the heads, (N, heads, S, d); softmax(q k^T / sqrt(d) + m) v; join them."""
    name, heads, (length, features) = node.name, node.attrs["heads"], node.shape
    depth = features // heads

    def split(index: int, part: str, order: list[int]) -> str:
        keys = w.shapes[node.inputs[index]][0]
        shape = w.constant(f"{name}/{part}_shape", [0, keys, heads, depth], np.int64)  # 0: as it is
        apart = w.add(f"{name}/{part}_split", "Reshape", w.x(node, index), shape)
        return w.add(f"{name}/{part}", "Transpose", apart, perm=order)

    query, key = split(0, "query", [0, 2, 1, 3]), split(1, "key", [0, 2, 3, 1])
    product = w.add(f"{name}/product", "MatMul", query, key)
    scores = w.add(f"{name}/scores", "Div", product, w.constant(f"{name}/root", math.sqrt(depth)))
    masked = w.add(f"{name}/masked", "Add", scores, mask(w, w.x(node, 3)))
    weights = w.add(f"{name}/weights", "Softmax", masked, axis=-1)
    mixed = w.add(f"{name}/mixed", "MatMul", weights, split(2, "value", [0, 2, 1, 3]))
    whole = w.constant(f"{name}/shape", [0, length, features], np.int64)
    return w.add(name, "Reshape", w.add(f"{name}/joined", "Transpose", mixed, perm=[0, 2, 1, 3]), whole)


def mask(w: Writer, name: str) -> str:
    """Return what a mask adds to scores, (N, 1, 1, keys); made once, however many layers read the mask."""
    from onnx import TensorProto

    bias = f"{name}/bias"
    if bias not in {node.name for node in w.nodes}:
        kept = w.add(f"{name}/kept", "Cast", name, to=TensorProto.BOOL)
        wide = w.add(f"{name}/wide", "Unsqueeze", kept, w.constant(f"{name}/axes", [1, 2], np.int64))
        w.add(bias, "Where", wide, w.constant(f"{name}/zero", 0), w.constant(f"{name}/lowest", LOWEST))
    return bias


def split(w: Writer, node: Node) -> tuple[str, ...]:
    """A slice for each stretch, for all that comes after expects nodes that make one tensor."""
    axis, end, made = node.attrs["axis"] % len(w.shape(node)), 0, []
    along = w.constant(f"{node.name}/axis", [axis + 1], np.int64)
    for name, size in zip(node.results, node.attrs["sizes"], strict=True):
        begin, end = end, end + size
        bounds = (w.constant(f"{name}/{word}", [value], np.int64) for word, value in (("begin", begin), ("end", end)))
        made.append(w.add(name, "Slice", w.x(node), *bounds, along))
    return tuple(made)


def reshape(w: Writer, node: Node) -> str:
    """Folding and unfolding an axis: the batch is what remains."""
    size = [node.attrs["size"]] if node.op == "unfold" else []
    rest = w.shape(node) if size else node.shape
    return w.add(node.name, "Reshape", w.x(node), w.constant(f"{node.name}/shape", [-1, *size, *rest], np.int64))


def recurrent(kind: str, gates: Sequence[int], **attrs: int) -> Rule:
    """Return the rule of a layer: time first, the directions' axis off again; ``gates`` has ours in ONNX's order."""
    def rule(w: Writer, node: Node) -> tuple[str, ...]:
        name = node.name
        x, state, lengths = parts([w.tensors[one] for one in node.inputs], [w.shapes[one] for one in node.inputs])
        front = w.constant(f"{name}/front", [0], np.int64)

        def weights(local: str, *params: str) -> str:
            found = [np.split(w.param(node, one), len(gates))[gate] for one in params for gate in gates]
            return w.constant(f"{name}.{local}", np.concatenate(found)[None])

        read = [w.add(f"{name}/steps", "Transpose", x, perm=[1, 0, 2]), weights("weight_ih", "weight_ih"),
                weights("weight_hh", "weight_hh"), weights("bias", "bias_ih", "bias_hh"),
                whole(w, f"{name}/lengths", lengths) if lengths else "",
                *(w.add(f"{name}/start{place}", "Unsqueeze", one, front) for place, one in enumerate(state))]
        y, *last = w.add_several(f"{name}/layer", kind, *(read if read[-1] else read[:-1]), hidden_size=node.shape[1],
                                 direction="reverse" if node.attrs["reverse"] else "forward",
                                 outputs=[f"{name}/{part}" for part in ("outputs", *node.more)], **attrs)
        one_way = w.add(f"{name}/one_way", "Squeeze", y, w.constant(f"{name}/direction", [1], np.int64))
        result = w.add(name, "Transpose", one_way, perm=[1, 0, 2])
        return (result, *(w.add(more, "Squeeze", one, front) for more, one in zip(node.results[1:], last, strict=True)))

    return rule


def whole(w: Writer, name: str, lengths: str) -> str:
    from onnx import TensorProto

    return w.add(name, "Cast", lengths, to=TensorProto.INT32)


def select(w: Writer, node: Node) -> str:
    axis = node.attrs["axis"] % len(w.shape(node))
    index = w.constant(f"{node.name}/index", node.attrs["index"] % w.shape(node)[axis], np.int64)
    return w.add(node.name, "Gather", w.x(node), index, axis=axis + 1)


TABLE: dict[str, Rule] = {
    "conv": conv, "batch_norm": batch_norm, "relu": unary("Relu"), "gelu": gelu, "tanh": unary("Tanh"),
    "max_pool": pool("MaxPool"), "avg_pool": pool("AveragePool", count_include_pad=1),
    "adaptive_avg_pool": adaptive_avg_pool, "flatten": flatten, "dense": dense, "dropout": same, "add": add,
    "concat": concat, "scale": scale, "layer_scale": layer_scale, "embedding": embedding,
    "position_embedding": position_embedding, "layer_norm": layer_norm,
    "attention": attention, "select": select, "split": split, "fold": reshape, "unfold": reshape,
    "lstm": recurrent("LSTM", (0, 3, 1, 2)), "gru": recurrent("GRU", (1, 0, 2), linear_before_reset=1),
}
