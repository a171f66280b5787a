"""How a model is recorded: a value without numbers, and what makes a shape rule a method that adds a node."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from .. import Node, Param, Shape

P = ParamSpec("P")
T = TypeVar("T", bound="Value")

# Attributes that came later: left out where they change nothing, so that older graphs keep their text.
UNSAID = {"dilation": 1}


@dataclass(frozen=True)
class Out:
    """What an op's method returns: the shape of the result and the parameters the op needs.

    ``more`` are the shapes of further results by name. ``rows`` is how many rows a sample has in the result; None: as
    many as in what the op reads.
    """

    shape: Shape
    params: Mapping[str, Param] = field(default_factory=dict)
    dtype: str = "float32"
    more: Mapping[str, Shape] = field(default_factory=dict)
    rows: int | None = None


@dataclass
class Recorder:
    """Collects nodes while a model function runs; names must be unique."""

    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def name(self, wanted: str | None, op: str) -> str:
        if wanted is None:
            count = sum(n.op == op for n in self.nodes)
            wanted = f"{op}_{count}"
        if ":" in wanted:
            raise ValueError(f"a node cannot be named {wanted!r}: a colon stands before the name of a further result")
        if wanted in self.names:
            raise ValueError(f"two nodes are named {wanted!r}; give each layer a name of its own")
        self.names.add(wanted)
        return wanted

    def maker(self, value: Value) -> Node:
        """Return the node that makes a value; ValueError of an input."""
        for node in self.nodes:
            if value.name in node.results:
                return node
        raise ValueError(f"{value.name!r} is an input of the model, which no layer makes")


@dataclass(frozen=True, eq=False)
class Value:
    """A value that a model function is written over; holds a name and a shape, never numbers.

    ``rows`` is how many rows each sample has in it: 1 but where an axis was folded into the batch.
    """

    name: str
    shape: Shape
    dtype: str
    recorder: Recorder
    rows: int = 1

    def result(self: T, name: str) -> T:
        """Return a further result of the op that made this value; ValueError names those that there are."""
        node = self.recorder.maker(self)
        if name not in node.more:
            there = ", ".join(node.more) or "none"
            raise ValueError(f"{node.op} {node.name!r} has no further result {name!r}; it has: {there}")
        return type(self)(f"{node.name}:{name}", node.more[name], node.dtype, self.recorder, node.rows)


def op(rule: Callable[Concatenate[T, P], Out]) -> Callable[Concatenate[T, P], T]:
    """Turn a shape rule into a recording method; tensor arguments become inputs, the others attributes.

    ``name`` and ``share`` are neither: the node's name, and a value whose layer's parameters it is to use.
    """
    signature = inspect.signature(rule)

    @functools.wraps(rule)
    def record(self: T, *args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        wanted, share = given.pop("name", None), given.pop("share", None)
        tensors = {k: [v] if isinstance(v, Value) else list(v) for k, v in given.items() if holds_values(v)}
        read = [tensor for several in tensors.values() for tensor in several]
        attrs = {k: v for k, v in given.items() if k not in tensors and v is not None and UNSAID.get(k) != v}
        out = rule(self, *args, **kwargs)
        name = self.recorder.name(wanted, rule.__name__)
        check_result(rule.__name__, name, read, out)
        params, shared = sharing(name, share, out.params)
        node = Node(name, rule.__name__, tuple(tensor.name for tensor in read), attrs, out.shape, out.dtype, params,
                    out.more, shared, out.rows or self.rows)
        self.recorder.nodes.append(node)
        return type(self)(name, out.shape, out.dtype, self.recorder, node.rows)

    OPS[rule.__name__] = rule
    return record


OPS: dict[str, Callable[..., Out]] = {}


def holds_values(value: object) -> bool:
    return isinstance(value, Value) or (isinstance(value, tuple) and any(isinstance(v, Value) for v in value))


def check_result(op: str, name: str, read: Iterable[Value], out: Out) -> None:
    """Raise ValueError for an empty result, and for inputs that differ in their rows."""
    first, *others = read
    if any(size < 1 for shape in (out.shape, *out.more.values()) for size in shape):
        raise ValueError(f"{op} {name!r} makes an empty tensor {out.shape} of {first.shape}; "
                         "the input is too small for this network")
    for other in others:
        if other.rows != first.rows:
            raise ValueError(f"{op} {name!r} reads {first.name!r} of {first.rows} rows a sample and {other.name!r} of "
                             f"{other.rows}; fold or unfold one of them")


def sharing(name: str, owner: Any, params: Mapping[str, Param]) -> tuple[dict[str, Param], dict[str, str]]:
    """Return a node's parameters, and of those that are another layer's the full name there.

    Shared are those that both have under one local name; the rest are the node's own.
    """
    if owner is None:
        return dict(params), {}
    node = owner.recorder.maker(owner)
    common = [local for local in params if local in node.params]
    if not common:
        raise ValueError(f"{name!r} cannot share the parameters of {node.op} {node.name!r}: they have none in common")
    for local in common:
        there, here = node.params[local], params[local]
        if there.shape != here.shape or not (there.trained and here.trained):
            raise ValueError(f"{name!r} cannot share {local!r} of {node.op} {node.name!r}: it needs {here.shape}, and "
                             f"that is {there.shape}; only trained parameters of one shape can be shared")
    return ({**params, **{local: node.params[local] for local in common}},
            {local: node.param_name(local) for local in common})
