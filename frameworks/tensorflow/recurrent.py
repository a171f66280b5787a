"""Recurrent layers: Keras' own, which take cuDNN's kernel on a GPU, with the parameters that the neutral op has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.keras import layers

from dlcompare.core.graph import Node
from dlcompare.core.graph.ops.recurrent import parts

LAYERS: dict[str, Callable[..., Any]] = {"lstm": layers.LSTM}


class Recurrent(layers.Layer):
    """One of Keras' layers that computes with variables of this one.

    Keras' LSTM has one bias where the neutral one has two, which learn twice as fast together.
    """

    def __init__(self, node: Node, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.reverse = node.op, node.attrs["reverse"]
        # Without the last argument outputs beyond a length repeat the last one.
        self.inner = LAYERS[node.op](node.attrs["units"], return_sequences=True, return_state=True,
                                     dtype=kwargs["dtype"], zero_output_for_mask=True)
        self.variables_of = {local: self.add_weight(local, param.shape[::-1], tf.float32, "zeros")
                             for local, param in node.params.items()}

    def call(self, read: list[Any]) -> tuple[Any, ...]:
        x, state, lengths = parts(read, [one.shape[1:] for one in read])
        own, cell = self.variables_of, self.inner.cell
        for name, value in (("kernel", own["weight_ih"]), ("recurrent_kernel", own["weight_hh"]),
                            ("bias", own["bias_ih"] + own["bias_hh"])):
            object.__setattr__(cell, name, value)  # no variable of the cell's, so Keras shall not keep it as one
        mask = None if lengths is None else tf.sequence_mask(lengths, x.shape[1])
        y, *last = self.inner.call(self.turned(x, lengths), mask=mask, initial_state=list(state) or None)
        return (self.turned(y, lengths), *(last if lengths is None else last[:1]))

    def turned(self, x: Any, lengths: Any) -> Any:
        """Return what lies within each sample's length from its end to its begin, if the layer runs so."""
        if not self.reverse:
            return x
        return tf.reverse(x, [1]) if lengths is None else tf.reverse_sequence(x, lengths, seq_axis=1)


def recurrent(node: Node, read: list[Any], policy: Any) -> tuple[Any, dict[str, Any]]:
    layer = Recurrent(node, name=node.name, dtype=policy)
    return layer(read), layer.variables_of
