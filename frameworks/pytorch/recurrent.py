"""Recurrent layers: PyTorch's own modules, called as the other ops are, on samples of several lengths too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from dlcompare.core.graph import Node, Shape
from dlcompare.core.graph.ops.recurrent import parts

LAYERS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU}
# Where the parameters stand in the module below.
NATIVE = {local: f"inner.{local}_l0" for local in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


class Recurrent(nn.Module):
    """A layer of one direction; the fused kernels of oneDNN or cuDNN run it."""

    def __init__(self, node: Node, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.shapes, self.reverse = shapes, node.attrs["reverse"]
        self.inner = LAYERS[node.op](shapes[0][-1], node.attrs["units"], batch_first=True)

    def forward(self, *read: Tensor) -> tuple[Tensor, ...]:
        x, state, lengths = parts(read, self.shapes)
        x = self.turned(x, lengths)
        if lengths is None:
            y, last = self.run(x, state)
            return (self.turned(y, None), *last)
        # Packing wants the lengths in the host's memory.
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.run(packed, state)
        y, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return self.turned(y, lengths), last[0]

    def run(self, x: Tensor | PackedSequence, state: tuple[Tensor, ...]) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the outputs, packed as x is, and the states, each (batch, units)."""
        begin = [one[None].contiguous() for one in state]
        y, last = self.inner(x, (tuple(begin) if len(begin) > 1 else begin[0]) if begin else None)  # None: zeros
        return y, tuple(one[0] for one in (last if isinstance(last, tuple) else (last,)))

    def turned(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return what lies within each sample's length from its end to its begin, if the layer runs so."""
        if not self.reverse:
            return x
        if lengths is None:
            return x.flip(1)
        places, ends = torch.arange(x.shape[1], device=x.device), lengths[:, None]
        back = torch.where(places < ends, ends - 1 - places, places)
        return x.gather(1, back[..., None].expand_as(x))
