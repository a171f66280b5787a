"""What a graph costs, counted from the graph alone: parameters, multiply-adds, activations, bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import Graph, Node, Shape
from .ops.windows import both

FLOAT_BYTES = 4  # everything below is for float32

ITEM_BYTES = {"float32": 4, "int64": 8, "int32": 4}


@dataclass(frozen=True)
class Cost:
    """Counts of one node, or a sum of nodes. Activations and multiply-adds are per sample, for the forward pass.

    ``parameters`` counts the elements that a checkpoint holds as trained parameters, whether or not the loss reaches
    them; ``statistics`` the elements of running means and variances. One multiply-add is two floating-point
    operations; biases, norms, activations and pooling count none, as in the published tables.
    """

    parameters: int = 0
    statistics: int = 0
    multiply_adds: int = 0
    activations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.statistics + other.statistics,
                    self.multiply_adds + other.multiply_adds, self.activations + other.activations)

    @property
    def parameter_bytes(self) -> int:
        """Return the float32 bytes of parameters and statistics."""
        return FLOAT_BYTES * (self.parameters + self.statistics)

    @property
    def activation_bytes(self) -> int:
        """Return the float32 bytes of one sample's outputs, each node's counted once."""
        return FLOAT_BYTES * self.activations

    @property
    def training_flops(self) -> int:
        """Return the floating-point operations of one sample's training step: 3 * 2 * multiply-adds.

        The backward pass takes each product twice more: once for the weights' gradient, once for the inputs'.
        """
        return 3 * 2 * self.multiply_adds


def node_costs(graph: Graph) -> dict[str, Cost]:
    """Return each node's cost by node name, in graph order."""
    shapes = graph.shapes()
    return {node.name: _cost(node, shapes) for node in graph.nodes}


def cost(graph: Graph) -> Cost:
    """Return the cost of the whole graph."""
    return sum(node_costs(graph).values(), Cost())


def training_bytes(graph: Graph, batch: int) -> int:
    """Return the least float32 memory, in bytes, that one worker needs to train with this batch per worker.

    Weights, gradients and momentum, running statistics, and per sample every tensor that some node's gradient needs,
    kept once from the forward pass to the backward. Workspaces, communication buffers, the framework itself and its
    caches come on top: a batch that does not fit by this count cannot run without recomputing activations.
    """
    total = cost(graph)
    fixed = FLOAT_BYTES * (3 * total.parameters + total.statistics)
    return fixed + batch * sum(_kept_bytes(graph).values())


def least_traffic(graph: Graph, batch: int, *, activation_bytes: int = FLOAT_BYTES) -> int:
    """Return the least bytes of memory traffic of a training step of one worker, if no cache holds what it works on.

    Everything between the tensors that gradients need is taken for fused: those are written by the forward pass and
    read by the backward one. Parameters are read by both and by the update, which also reads and writes momentum and
    writes them; their gradients are written and read once. What programs really move is more.
    """
    kept = sum(_kept_bytes(graph).values()) * activation_bytes // FLOAT_BYTES
    return batch * 2 * kept + FLOAT_BYTES * 8 * cost(graph).parameters


def least_training_flops(graph: Graph) -> float:
    """Return the fewest floating-point operations of one sample's training step by any algorithm in use.

    Fewer than :attr:`Cost.training_flops`, for these may be spared honestly: what the loss does not need; the gradient
    of inputs that nothing trained stands behind; and products of a convolution of stride 1, of which Winograd's
    F(4, r) needs (r + 3) for 4 r in each direction (Lavin & Gray 2016, "Fast algorithms for convolutional neural
    networks"; cuDNN and oneDNN have them). A rate above a machine's peak by this count cannot be true.
    """
    shapes, behind, total = graph.shapes(), set[str](), 0.0
    for node in graph.needed("loss"):
        trained_behind = not behind.isdisjoint(node.inputs)
        total += 2 * (2 + trained_behind) * multiply_adds(node, shapes) * remaining(node)
        if trained_behind or any(param.trained for param in node.params.values()):
            behind.update(node.results)
    return total


def remaining(node: Node) -> float:
    """Return which share of a node's products remains with Winograd's algorithm."""
    if node.op != "conv" or both(node.attrs.get("stride", 1)) != (1, 1):
        return 1.0
    sides = node.params["weight"].shape[2:]
    return math.prod((side + 3) / (4 * side) for side in sides if side > 1)


def _kept_bytes(graph: Graph) -> dict[str, int]:
    """Return the bytes per sample of the tensors kept for the backward pass, by name; a view counts as its source."""
    source: dict[str, str] = {}
    kept: set[str] = set()
    for node in graph.needed("loss"):
        inputs = [source.get(name, name) for name in node.inputs]
        if node.op in VIEWS:
            source.update(dict.fromkeys(node.results, inputs[0]))
        kept.update(inputs if node.op in KEEPS_INPUTS else ())
        kept.update(node.results if node.op in KEEPS_OUTPUT else ())
    types = {**{k: v.dtype for k, v in graph.inputs.items()}, **{k: n.dtype for n in graph.nodes for k in n.results}}
    shapes, rows = graph.shapes(), graph.rows()
    return {name: math.prod(shapes[name]) * ITEM_BYTES[types[name]] * rows[name] for name in kept}


def _cost(node: Node, shapes: Mapping[str, Shape]) -> Cost:
    own = [p for local, p in node.params.items() if local not in node.shared]
    trained = sum(math.prod(p.shape) for p in own if p.trained)
    statistics = sum(math.prod(p.shape) for p in own if not p.trained)
    made = sum(math.prod(shapes[name]) for name in node.results)
    return Cost(trained, statistics, multiply_adds(node, shapes), made * node.rows)


def multiply_adds(node: Node, shapes: Mapping[str, Shape]) -> int:
    """Return the multiply-adds of one sample, forward, of all its rows."""
    count = MULTIPLY_ADDS.get(node.op)
    return count(node, shapes) * node.rows if count else 0


def _conv(node: Node, shapes: Mapping[str, Shape]) -> int:
    return math.prod(node.params["weight"].shape) * math.prod(node.shape[1:])


def _dense(node: Node, shapes: Mapping[str, Shape]) -> int:
    return math.prod(node.params["weight"].shape) * math.prod(node.shape[:-1])


def _attention(node: Node, shapes: Mapping[str, Shape]) -> int:
    """Count q k^T and p v: each queries * keys * features, whatever the number of heads."""
    queries, features = node.shape
    keys = shapes[node.inputs[1]][0]
    return 2 * queries * keys * features


def _recurrent(node: Node, shapes: Mapping[str, Shape]) -> int:
    """Count the products with both weights at every step, padding too: S * gates * units * (features + units)."""
    return node.shape[0] * sum(math.prod(node.params[local].shape) for local in ("weight_ih", "weight_hh"))


MULTIPLY_ADDS: dict[str, Callable[[Node, Mapping[str, Shape]], int]] = {
    "conv": _conv, "dense": _dense, "attention": _attention, "lstm": _recurrent, "gru": _recurrent,
}
# Ops without a matrix product; a new op must be put here or above (a test asks).
NO_PRODUCTS = frozenset({
    "batch_norm", "relu", "gelu", "tanh", "max_pool", "avg_pool", "adaptive_avg_pool", "flatten", "dropout", "add",
    "concat", "scale", "layer_scale", "embedding", "position_embedding", "layer_norm", "select", "cross_entropy",
    "mean_square", "split", "fold", "unfold",
})
# Which tensors a gradient needs: dense needs x for its weight's, relu its own result; add, concat and pooling by mean
# need none. A recurrent layer needs both (its gates, which may be computed again, are not counted).
KEEPS_INPUTS = frozenset({"conv", "dense", "attention", "batch_norm", "layer_norm", "gelu", "max_pool", "embedding",
                          "layer_scale", "cross_entropy", "mean_square", "lstm", "gru"})
KEEPS_OUTPUT = frozenset({"relu", "tanh", "lstm", "gru"})
KEEPS_NOTHING = frozenset({"avg_pool", "adaptive_avg_pool", "flatten", "dropout", "add", "concat", "scale",
                           "position_embedding", "select", "split", "fold", "unfold"})
VIEWS = frozenset({"flatten", "split", "fold", "unfold"})
