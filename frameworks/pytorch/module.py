"""The graph as one ``torch.fx`` module: what a hand-written ``forward`` over the native modules would be."""

from __future__ import annotations

from collections import Counter
from operator import getitem
from typing import Any

from torch import fx, nn

from dlcompare.core.graph import Graph, Node

from .ops import IN_PLACE, OVERWRITABLE, TABLE
from .recurrent import NATIVE


def build(graph: Graph) -> dict[str, nn.Module]:
    """Return a native module per node, by its path."""
    shapes = graph.shapes()
    producer = {n.name: n for n in graph.nodes}
    uses = Counter(name for n in graph.nodes for name in n.inputs) + Counter(graph.outputs.values())
    modules = {}
    for node in graph.nodes:
        first = producer.get(node.inputs[0])
        if node.op in IN_PLACE and first is not None and first.op in OVERWRITABLE and uses[first.name] == 1:
            modules[path(node.name)] = IN_PLACE[node.op]()
        else:
            modules[path(node.name)] = TABLE[node.op](node, [shapes[name] for name in node.inputs])
    return modules


def fx_graph(graph: Graph, nodes: tuple[Node, ...], outputs: list[str]) -> fx.Graph:
    """Return straight-line code over the modules: what a hand-written ``forward`` would do, and nothing more."""
    flow = fx.Graph()
    values = {name: flow.placeholder(name) for name in graph.inputs}
    for node in nodes:
        made: Any = flow.call_module(path(node.name), tuple(values[name] for name in node.inputs))
        if node.more:
            made = [flow.call_function(getitem, (made, index)) for index in range(len(node.results))]
        values.update(node.named(made))
    flow.output({name: values[graph.outputs[name]] for name in outputs})
    return flow


def tie(graph: Graph, module: nn.Module) -> None:
    """Let layers that share parameters have the very same, of the layer that they are named for."""
    for node in graph.nodes:
        for local, name in node.shared.items():
            setattr(module.get_submodule(path(node.name)), local, module.get_parameter(target(name)))


def path(node: str) -> str:
    """Return where a node's module stands in the module tree; prefixed, for names like ``half`` are taken there."""
    return ".".join(f"n_{part}" for part in node.split("."))


def target(param: str) -> str:
    """Return where a parameter stands in the module tree."""
    node, _, local = param.rpartition(".")
    return f"{path(node)}.{NATIVE.get(local, local)}"
