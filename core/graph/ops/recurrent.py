"""What recurrent layers have in common, for shape rules and backends alike: what they read, and their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .. import Graph, Param, Shape
from .recording import Out, Value

T = TypeVar("T")

RECURRENT = ("lstm", "gru")


def parts(read: Sequence[T], shapes: Sequence[Shape]) -> tuple[T, tuple[T, ...], T | None]:
    """Return of what a layer reads the sequence, the state to begin with (empty: zeros), and the lengths, if any.

    ``shapes`` are those of what is read, without the batch: lengths alone are scalars.
    """
    sequence, *others = read
    lengths = others.pop() if tuple(shapes[-1]) == () else None
    return sequence, tuple(others), lengths


def runs(graph: Graph) -> bool:
    """Return whether a graph has recurrent layers; what runs them is then among a backend's settings."""
    return any(node.op in RECURRENT for node in graph.nodes)


def layer(x: Value, units: int, *, state: tuple[Value, ...], lengths: Value | None, gates: int, states: str,
          init: str) -> Out:
    """Return what a recurrent layer makes and needs; ``states`` names what it hands on, one letter each.

    Raises:
        ValueError: x is no sequence, or a state or the lengths have not the shape that they must have.
    """
    if len(x.shape) != 2:
        raise ValueError(f"a recurrent layer reads a sequence (S, features), not {x.shape}")
    if wrong := [one for one in state if one.shape != (units,)]:
        raise ValueError(f"a state of {units} units is ({units},), and {wrong[0].name!r} is {wrong[0].shape}")
    if state and len(state) != len(states):
        raise ValueError(f"the state to begin with is ({', '.join(states)}), not {len(state)} of them")
    if lengths is not None and (lengths.shape or not lengths.dtype.startswith("int")):
        raise ValueError(f"lengths are one whole number for each sample, not {lengths.dtype} {lengths.shape}")
    length, features = x.shape
    params = {"weight_ih": Param((gates * units, features), init), "weight_hh": Param((gates * units, units), init),
              "bias_ih": Param((gates * units,)), "bias_hh": Param((gates * units,))}
    known = states if lengths is None else states[:1]
    return Out((length, units), params, more=dict.fromkeys(known, (units,)))
