"""One op alone: a graph of a single layer, which every backend runs and the reference verifies as it does a network.

A learned factor for each channel stands before the layer, so that it has a gradient to pass on, and the mean square
behind it is the loss. This frame reads and writes each tensor a few times; :func:`frame` is the frame alone, by which
it can be measured and taken off.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass

from . import Graph, Input, Node, Shape
from .cost import VIEWS, node_costs
from .ops import check, trace

LAYER = "layer"  # what the one node is called


@dataclass(frozen=True)
class Layer:
    """A layer of a network, alone: the ``name`` of the first like it, how many there are, and the graph of one.

    ``multiply_adds`` are of one sample, forward. ``products`` is by how much a training step does more: 3 with the
    gradients of parameters and inputs, 2 where one of them is not needed. ``inputs`` are the shapes of what it reads;
    ``framed`` those of the tensors that the frame scales before it, and takes the square of behind it.
    """

    name: str
    op: str
    count: int
    graph: Graph
    inputs: tuple[Shape, ...]
    shape: Shape
    multiply_adds: int
    products: int
    framed: tuple[Shape, ...]

    @property
    def about(self) -> str:
        """Return what the layer does with what, in short: ``conv 3x3/2 64x56x56 -> 128x28x28``."""
        attrs = self.graph.node(LAYER).attrs
        kernel = attrs.get("kernel")
        wide = "x".join(map(str, kernel if isinstance(kernel, (tuple, list)) else (kernel, kernel))) if kernel else ""
        step = attrs.get("stride", 1)
        window = f" {wide}/{step if isinstance(step, int) else sides(step)}" if kernel else ""
        return f"{self.op}{window} {sides(self.inputs[0])} -> {sides(self.shape)}"


def sides(shape: Shape) -> str:
    """Return a shape as people write it; a scalar's is 1."""
    return "x".join(map(str, shape)) or "1"


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Return the distinct layers that training runs, in order: those of one op, attributes and shapes are one.

    Left out are views, which cost nothing, and sums of losses.
    """
    own = [node for node in graph.needed("loss") if node.op not in VIEWS and shapes_of(graph, node)[0]]
    keys = {node.name: key(graph, node) for node in own}
    count = Counter(keys.values())
    first = {keys[node.name]: node for node in reversed(own)}
    costs = node_costs(graph)
    return tuple(layer(graph, node, count=count[keys[node.name]], multiply_adds=costs[node.name].multiply_adds)
                 for node in own if first[keys[node.name]] is node)


def layer(graph: Graph, node: Node, *, count: int = 1, multiply_adds: int = 0) -> Layer:
    """Return a node of a graph as a layer alone."""
    shapes = shapes_of(graph, node)
    passed = [shape for name, shape in zip(node.inputs, shapes, strict=True) if passes_on(graph, name)]
    return Layer(node.name, node.op, count, alone(graph, node), tuple(shapes), node.shape, multiply_adds,
                 1 + bool(node.params) + bool(passed), (*passed, *([node.shape] if node.shape else [])))


def key(graph: Graph, node: Node) -> str:
    """Return the same text for all nodes that do the same work."""
    return json.dumps([node.op, dict(node.attrs), shapes_of(graph, node), [passes_on(graph, k) for k in node.inputs],
                       node.rows])


def shapes_of(graph: Graph, node: Node) -> list[Shape]:
    """Return the shapes of what a node reads."""
    known = graph.shapes()
    return [known[name] for name in node.inputs]


def passes_on(graph: Graph, name: str) -> bool:
    """Return whether training passes a gradient on to a tensor: to results of layers, not to samples."""
    return name not in graph.inputs


def alone(graph: Graph, node: Node) -> Graph:
    """Return the graph of one node: what it reads is input, scaled where a gradient is passed on; the loss behind.

    Where an axis was folded into the batch, what it reads is folded here too; parameters of another layer are its own.
    """
    inputs, nodes, read, rows = dict[str, Input](), list[Node](), list[str](), graph.rows()
    for number, (name, shape) in enumerate(zip(node.inputs, shapes_of(graph, node), strict=True)):
        source, passed = f"x{number}", passes_on(graph, name)
        inputs[source] = (Input((rows[name], *shape) if rows[name] > 1 else shape) if passed
                          else dataclasses.replace(graph.inputs[name], follows=None))
        if rows[name] > 1:
            nodes.append(Node(f"fold{number}", "fold", (source,), {}, shape, rows=rows[name]))
            source = nodes[-1].name
        if passed:
            nodes.append(around(source, shape, number, rows=rows[name]))
            source = nodes[-1].name
        read.append(source)
    nodes.append(dataclasses.replace(node, name=LAYER, inputs=tuple(read), shared={}))
    if node.shape:
        nodes.append(Node("loss", "mean_square", (LAYER,), {}, ()))
    found = Graph(node.name, inputs, tuple(nodes), {"loss": nodes[-1].name})
    check(found)
    return found


def around(name: str, shape: Shape, number: int, *, rows: int) -> Node:
    """Return the learned factor before a layer."""
    return dataclasses.replace(frame(shape).nodes[0], name=f"before{number}", inputs=(name,), rows=rows)


def frame(shape: Shape) -> Graph:
    """Return the frame without a layer in it: what is measured beside a layer, for a tensor of a shape."""
    return trace("frame", lambda x0: {"loss": x0.layer_scale(name="before0").mean_square(name="loss")},
                 {"x0": Input(shape)})
