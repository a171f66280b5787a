"""Recurrent layers: Keras' own, which take cuDNN's kernel on a GPU, with the parameters that the neutral op has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

from dlcompare.core.graph import Node
from dlcompare.core.graph.ops.recurrent import parts

LAYERS: dict[str, Callable[..., Any]] = {"lstm": layers.LSTM, "gru": layers.GRU}


class Recurrent(layers.Layer):
    """One of Keras' layers that computes with variables of this one.

    Keras' LSTM has one bias where the neutral one has two, which learn twice as fast together; its GRU has them in one
    variable, and the gate z first.
    """

    def __init__(self, node: Node, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.reverse = node.op, node.attrs["reverse"]
        self.shapes = {local: param.shape[::-1] for local, param in node.params.items()}
        # Without the last argument outputs beyond a length repeat the last one.
        self.inner = LAYERS[node.op](node.attrs["units"], return_sequences=True, return_state=True,
                                     dtype=kwargs["dtype"], zero_output_for_mask=True)

    def build(self, shapes: Any) -> None:
        self.own = {local: self.add_weight(local, shape, tf.float32, "zeros") for local, shape in self.shapes.items()}

    def call(self, read: list[Any]) -> tuple[Any, ...]:
        x, state, lengths = parts(read, [one.shape[1:] for one in read])
        both = self.own["bias_ih"], self.own["bias_hh"]
        values = {"kernel": self.own["weight_ih"], "recurrent_kernel": self.own["weight_hh"],
                  "bias": tf.add(*both) if self.kind == "lstm" else tf.stack(both)}
        for name, value in values.items():
            object.__setattr__(self.inner.cell, name, value)  # Keras shall keep none of them as the cell's
        mask = None if lengths is None else tf.sequence_mask(lengths, x.shape[1])
        y, *last = self.inner.call(self.turned(x, lengths), mask=mask, initial_state=list(state) or None)
        return (self.turned(y, lengths), *(last if lengths is None else last[:1]))

    def turned(self, x: Any, lengths: Any) -> Any:
        """Return what lies within each sample's length from its end to its begin, if the layer runs so."""
        if not self.reverse:
            return x
        return tf.reverse(x, [1]) if lengths is None else tf.reverse_sequence(x, lengths, seq_axis=1)


def reset_last(array: np.ndarray) -> np.ndarray:
    """Return a GRU's parameter with its first two gates exchanged: r, z, n to z, r, n and back."""
    r, z, n = np.split(array, 3)
    return np.concatenate([z, r, n])


def recurrent(node: Node, read: list[Any], policy: Any) -> tuple[Any, dict[str, Any]]:
    layer = Recurrent(node, name=node.name, dtype=policy)
    return layer(read), layer.own
