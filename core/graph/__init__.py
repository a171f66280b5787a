"""The neutral graph: what a model is before any framework has seen it.

A model is an ordinary function over recording tensors (see ``ops.Tensor``); calling it yields the nodes below. Shapes
never hold the batch axis, are in the canonical layout (channels first), and sizes are in elements.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Param:
    """One parameter of a node: its canonical shape (OIHW, (out, in)), how it is drawn, and whether it is trained."""

    shape: Shape
    init: str = "zeros"  # a key of params.INITIALISERS
    trained: bool = True  # False for running statistics


@dataclass(frozen=True)
class Input:
    """One declared input of a model; shape without the batch axis.

    ``high`` is the exclusive upper bound of integer data; ``role`` tells a dataset what to put there:
    image, label, ids, segment, mask, position.
    """

    shape: Shape
    dtype: str = "float32"
    role: str = "image"
    high: int | None = None


@dataclass(frozen=True)
class Node:
    """One application of a neutral op: ``inputs`` are node names, ``params`` maps local to :class:`Param`."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    shape: Shape
    dtype: str = "float32"
    params: Mapping[str, Param] = field(default_factory=dict)

    def param_name(self, local: str) -> str:
        """Return the full name of a parameter, as published checkpoints spell it: ``layer1.0.conv1.weight``."""
        return f"{self.name}.{local}"


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, the declared inputs, and the outputs by name; ``loss`` is one of them."""

    name: str
    inputs: Mapping[str, Input]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def node(self, name: str) -> Node:
        """Return the node of that name; KeyError if there is none."""
        return next(n for n in self.nodes if n.name == name)

    def params(self) -> dict[str, Param]:
        """Return every parameter by its full name, in graph order."""
        return {n.param_name(local): p for n in self.nodes for local, p in n.params.items()}

    def needed(self, *outputs: str) -> tuple[Node, ...]:
        """Return, in order, the nodes that the given outputs (default: all) depend on."""
        wanted = {self.outputs[name] for name in outputs or self.outputs}
        found: list[Node] = []
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
                found.append(node)
        return tuple(reversed(found))

    def trained(self) -> tuple[str, ...]:
        """Return the names of the parameters that training changes: trainable, and reached by the loss.

        A parameter the loss does not reach (BERT's pooler under a span head) has no gradient and is left alone,
        weight decay included.
        """
        return tuple(n.param_name(k) for n in self.needed("loss") for k, p in n.params.items() if p.trained)

    def to_json(self) -> str:
        """Return a stable, readable text of the graph, one node a line; golden files keep it."""
        lines = [json.dumps({"graph": self.name, "outputs": dict(self.outputs)})]
        lines += [json.dumps({"input": k, **dataclasses.asdict(v)}) for k, v in self.inputs.items()]
        lines += [json.dumps({**dataclasses.asdict(n), "attrs": dict(n.attrs)}) for n in self.nodes]
        return "\n".join(lines) + "\n"
