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

# Fields of nodes and inputs that came later: left out of the text where they say nothing, so older graphs keep theirs.
LATER = {"more": {}, "shared": {}, "rows": 1, "follows": None}


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
    image, label, ids, segment, mask, position, weight, length (of a padded sequence, from 1 to below ``high``), or
    carried (at each step what the output ``follows`` was at the one before, zeros at the first; no dataset gives it, no
    gradient goes back beyond a step).
    """

    shape: Shape
    dtype: str = "float32"
    role: str = "image"
    high: int | None = None
    follows: str | None = None


@dataclass(frozen=True)
class Node:
    """One application of a neutral op: ``inputs`` are names of results, ``params`` maps local to :class:`Param`.

    The result is named as the node; ``more`` has the shapes of further ones, which are named ``node:name``. ``shared``
    maps local parameters that are another node's to their full names. ``rows`` is how many rows each sample has in the
    result, where an axis was folded into the batch.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    shape: Shape
    dtype: str = "float32"
    params: Mapping[str, Param] = field(default_factory=dict)
    more: Mapping[str, Shape] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    rows: int = 1

    @property
    def results(self) -> tuple[str, ...]:
        """Return the names of the results, in order."""
        return (self.name, *(f"{self.name}:{local}" for local in self.more))

    def named(self, result: Any) -> dict[str, Any]:
        """Return by name what an op gave: one value, or where the node has several results as many, in order."""
        return dict(zip(self.results, result if self.more else (result,), strict=True))

    def param_name(self, local: str) -> str:
        """Return the full name of a parameter, as published checkpoints spell it: ``layer1.0.conv1.weight``.

        A shared one has the name that it has in the node that it comes from.
        """
        return self.shared.get(local, f"{self.name}.{local}")


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, the declared inputs, and the outputs by name; ``loss`` is one of them."""

    name: str
    inputs: Mapping[str, Input]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def node(self, name: str) -> Node:
        """Return the node that makes the result of that name; StopIteration if there is none."""
        return next(n for n in self.nodes if name in n.results)

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of every input and every result, by name."""
        made = {name: shape for n in self.nodes
                for name, shape in zip(n.results, (n.shape, *n.more.values()), strict=True)}
        return {k: v.shape for k, v in self.inputs.items()} | made

    def rows(self) -> dict[str, int]:
        """Return how many rows a sample has in every input and every result, by name."""
        return dict.fromkeys(self.inputs, 1) | {name: n.rows for n in self.nodes for name in n.results}

    def carried(self) -> dict[str, str]:
        """Return by input, of those that are carried from step to step, the result that it is at the next."""
        return {k: self.outputs[v.follows] for k, v in self.inputs.items() if v.follows is not None}

    def params(self) -> dict[str, Param]:
        """Return every parameter by its full name, in graph order; one that several nodes use is there once."""
        return {n.param_name(local): p for n in self.nodes for local, p in n.params.items()}

    def needed(self, *outputs: str) -> tuple[Node, ...]:
        """Return, in order, the nodes that the given outputs (default: all) depend on."""
        wanted = {self.outputs[name] for name in outputs or self.outputs}
        found: list[Node] = []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.results):
                wanted.update(node.inputs)
                found.append(node)
        return tuple(reversed(found))

    def trained(self) -> tuple[str, ...]:
        """Return the names of the parameters that training changes: trainable, and reached by the loss.

        A parameter the loss does not reach (BERT's pooler under a span head) has no gradient and is left alone,
        weight decay included.
        """
        reached = (n.param_name(k) for n in self.needed("loss") for k, p in n.params.items() if p.trained)
        return tuple(dict.fromkeys(reached))

    def to_json(self) -> str:
        """Return a stable, readable text of the graph, one node a line; golden files keep it."""
        lines = [json.dumps({"graph": self.name, "outputs": dict(self.outputs)})]
        lines += [json.dumps({"input": k, **said(v)}) for k, v in self.inputs.items()]
        lines += [json.dumps(said(n)) for n in self.nodes]
        return "\n".join(lines) + "\n"


def said(what: Input | Node) -> dict[str, Any]:
    """Return the fields of an input or node but for later ones that say nothing."""
    missing = object()
    return {k: v for k, v in dataclasses.asdict(what).items() if LATER.get(k, missing) != v}
