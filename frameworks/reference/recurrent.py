"""Recurrent layers of the reference: a step at a time, and the gradient back through the steps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.graph.ops.recurrent import parts

from .unit import Array, Call, Gradients, Op

State = tuple[Array, ...]


class Recurrent(Op):
    """A layer whose state after a step is what its cell makes of the state before it and of the step's input.

    Beyond a sample's length the state is held and the output is 0.
    """

    states: int

    @abstractmethod
    def cell(self, call: Call, given: Array, own: Array, before: State) -> tuple[State, Any]:
        """Return the next state, of which the output is the first, and what ``slopes`` needs.

        ``given`` is W x + b_ih and ``own`` U h + b_hh, (batch, gates * units).
        """

    @abstractmethod
    def slopes(self, saved: Any, before: State, grad: State) -> tuple[Array, Array, State]:
        """Return the gradients of given, own, and the state before where it is used besides in own."""

    def forward(self, call: Call) -> tuple[State, Any]:
        x, state, lengths = read(call)
        state = state or (np.zeros((len(x), call.attrs["units"]), x.dtype),) * self.states
        given = x @ call.params["weight_ih"].T + call.params["bias_ih"]
        outputs, saved = np.zeros((*x.shape[:2], call.attrs["units"]), x.dtype), []
        for time in order(call):
            own = state[0] @ call.params["weight_hh"].T + call.params["bias_hh"]
            after, kept = self.cell(call, given[:, time], own, state)
            saved.append((time, state, kept))
            there = within(time, x, lengths)
            outputs[:, time] = np.where(there, after[0], 0)
            state = tuple(np.where(there, new, old) for new, old in zip(after, state, strict=True))
        return (outputs, *(state if lengths is None else state[:1])), saved

    def backward(self, call: Call, saved: Any, grad: State) -> Gradients:
        x, state, lengths = read(call)
        outputs, *known = grad
        coming = known + [np.zeros_like(known[0])] * (self.states - len(known))
        wide = (*x.shape[:2], len(call.params["bias_ih"]))
        given, own, hidden = np.zeros(wide), np.zeros(wide), np.zeros_like(outputs)
        for time, before, kept in reversed(saved):
            there = within(time, x, lengths)
            after = tuple(np.where(there, one, 0) for one in (coming[0] + outputs[:, time], *coming[1:]))
            given[:, time], own[:, time], through = self.slopes(kept, before, after)
            hidden[:, time] = before[0]
            coming = [np.where(there, new, old) for new, old in zip(through, coming, strict=True)]
            coming[0] = coming[0] + own[:, time] @ call.params["weight_hh"]
        both = ((0, 1), (0, 1))
        params = {"weight_ih": np.tensordot(given, x, both), "weight_hh": np.tensordot(own, hidden, both),
                  "bias_ih": given.sum((0, 1)), "bias_hh": own.sum((0, 1))}
        others = [*(coming if state else ()), *(() if lengths is None else (None,))]
        return (given @ call.params["weight_ih"], *others), params


class Lstm(Recurrent):
    states = 2

    def cell(self, call: Call, given: Array, own: Array, before: State) -> tuple[State, Any]:
        i, f, g, o = self.gates(given + own)
        c = f * before[1] + i * g
        return (o * np.tanh(c), c), (i, f, g, o, np.tanh(c))

    def gates(self, z: Array) -> State:
        i, f, g, o = np.split(z, 4, axis=-1)
        return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)

    def slopes(self, saved: Any, before: State, grad: State) -> tuple[Array, Array, State]:
        i, f, g, o, shown = saved
        h, c = grad
        c = c + h * o * (1 - shown**2)
        z = np.concatenate([c * g * i * (1 - i), c * before[1] * f * (1 - f), c * i * (1 - g**2),
                            h * shown * o * (1 - o)], axis=-1)
        return z, z, (np.zeros_like(h), c * f)


class Gru(Recurrent):
    states = 1

    def cell(self, call: Call, given: Array, own: Array, before: State) -> tuple[State, Any]:
        (r, z, n), (own_r, own_z, own_n) = np.split(given, 3, axis=-1), np.split(own, 3, axis=-1)
        r, z = sigmoid(r + own_r), sigmoid(z + own_z)
        n = np.tanh(n + r * own_n)
        return ((1 - z) * n + z * before[0],), (r, z, n, own_n)

    def slopes(self, saved: Any, before: State, grad: State) -> tuple[Array, Array, State]:
        r, z, n, own_n = saved
        (h,) = grad
        to_n, to_z = h * (1 - z) * (1 - n**2), h * (before[0] - n) * z * (1 - z)
        to_r = to_n * own_n * r * (1 - r)
        return np.concatenate([to_r, to_z, to_n], -1), np.concatenate([to_r, to_z, to_n * r], -1), (h * z,)


def read(call: Call) -> tuple[Array, State, Array | None]:
    """Return the sequence, the state to begin with, and the lengths; JobError if one of these is none."""
    x, state, lengths = parts(call.inputs, [array.shape[1:] for array in call.inputs])
    if lengths is not None and (wrong := lengths[(lengths < 1) | (lengths > x.shape[1])]).size:
        raise JobError(f"{call.name!r} was given a sequence of length {wrong[0]}; allowed are 1 to {x.shape[1]}. Check "
                       "the dataset")
    return x, state, lengths


def order(call: Call) -> range:
    """Return the steps in the order in which they are taken."""
    length = call.x.shape[1]
    return range(length - 1, -1, -1) if call.attrs["reverse"] else range(length)


def within(time: int, x: Array, lengths: Array | None) -> Array:
    """Return of each sample whether a step lies within its length, (batch, 1)."""
    return (np.full(len(x), True) if lengths is None else time < lengths)[:, None]


def sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # which overflows nowhere
