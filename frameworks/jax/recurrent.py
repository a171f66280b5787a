"""Recurrent layers: a scan over the steps, behind one product with the whole input; JAX has no fused layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.nn import sigmoid

from dlcompare.core.graph.ops.recurrent import parts

State = tuple[Array, ...]
Cell = Callable[[Array, Array, State], State]  # W x + b_ih, U h + b_hh, the state before -> the state after


def lstm(given: Array, own: Array, before: State) -> State:
    i, f, g, o = jnp.split(given + own, 4, axis=-1)
    c = sigmoid(f) * before[1] + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def gru(given: Array, own: Array, before: State) -> State:
    (r, z, n), (own_r, own_z, own_n) = jnp.split(given, 3, axis=-1), jnp.split(own, 3, axis=-1)
    z = sigmoid(z + own_z)
    return ((1 - z) * jnp.tanh(n + sigmoid(r + own_r) * own_n) + z * before[0],)


CELLS: dict[str, tuple[Cell, int]] = {"lstm": (lstm, 2), "gru": (gru, 1)}  # with how many states it has


def layer(op: str, args: list[Array], params: dict[str, Array], *, reverse: bool, compute: Any) -> State:
    """Return the outputs and the states behind the last step; products in ``compute``, states and gates in float32."""
    x, state, lengths = parts(args, [one.shape[1:] for one in args])
    cell, count = CELLS[op]

    def product(values: Array, weight: Array) -> Array:
        return (values.astype(compute) @ weight.astype(compute).T).astype(jnp.float32)

    def step(before: State, now: tuple[Array, Array | None]) -> tuple[State, Array]:
        given, there = now
        after = cell(given, product(before[0], params["weight_hh"]) + params["bias_hh"], before)
        if there is None:
            return after, after[0]
        held = tuple(jnp.where(there, new, old) for new, old in zip(after, before, strict=True))
        return held, jnp.where(there, after[0], 0)

    zeros = jnp.zeros((len(x), params["weight_hh"].shape[1]), jnp.float32)
    start = tuple(one.astype(jnp.float32) for one in state) or (zeros,) * count
    given = (product(x, params["weight_ih"]) + params["bias_ih"]).swapaxes(0, 1)
    there = None if lengths is None else (jnp.arange(x.shape[1])[:, None] < lengths)[..., None]  # (S, batch, 1)
    last, outputs = lax.scan(step, start, (given, there), reverse=reverse)
    found = (outputs.swapaxes(0, 1), *(last if lengths is None else last[:1]))
    return tuple(one.astype(x.dtype) for one in found)
