"""Recurrent layers: MXNet's fused operator, as ``gluon.rnn`` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mxnet.gluon import HybridBlock

from dlcompare.core.graph import Node, Shape
from dlcompare.core.graph.ops.recurrent import parts

Value = Any  # an NDArray, or a Symbol while a hybridised block is traced


class Recurrent(HybridBlock):
    """A layer of one direction. The operator takes time first, and weights and then biases as one vector.

    It ignores ``use_sequence_length`` on a CPU without a word, so lengths are dealt with around it.
    """

    def __init__(self, node: Node, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.shapes, self.mode, self.units = shapes, node.op, node.attrs["units"]
        self.reversed, self.states = node.attrs["reverse"], {"lstm": 2, "gru": 1}[node.op]
        for local, param in node.params.items():
            setattr(self, local, self.params.get(local, shape=param.shape))

    def hybrid_forward(self, F: Any, *read: Value, weight_ih: Value, weight_hh: Value, bias_ih: Value,
                       bias_hh: Value) -> tuple[Value, ...]:
        x, state, lengths = parts(read, self.shapes)
        lengths = None if lengths is None else F.cast(lengths, dtype="float32")
        x = self.turned(F, F.transpose(x, axes=(1, 0, 2)), lengths)
        start = [F.expand_dims(one, axis=0) for one in state] or [self.zeros(F, x)] * self.states
        flat = (F.reshape(one, shape=(-1,)) for one in (weight_ih, weight_hh, bias_ih, bias_hh))
        y, *last = F.RNN(x, F.concat(*flat, dim=0), *start, state_size=self.units, num_layers=1, mode=self.mode,
                         state_outputs=True)
        if lengths is None:
            found = [F.squeeze(one, axis=0) for one in last]
        else:
            found = [F.SequenceLast(y, lengths, use_sequence_length=True)]
            y = F.SequenceMask(y, lengths, use_sequence_length=True)
        return (F.transpose(self.turned(F, y, lengths), axes=(1, 0, 2)), *found)

    def zeros(self, F: Any, x: Value) -> Value:
        """Return a state of zeros for as many samples as x has, which is not known while it is traced."""
        column = F.slice(x, begin=(0, None, 0), end=(1, None, 1))
        return F.broadcast_axis(F.zeros_like(column), axis=2, size=self.units)

    def turned(self, F: Any, x: Value, lengths: Value | None) -> Value:
        """Return what lies within each sample's length from its end to its begin, if the layer runs so."""
        if not self.reversed:
            return x
        return F.flip(x, axis=0) if lengths is None else F.SequenceReverse(x, lengths, use_sequence_length=True)
