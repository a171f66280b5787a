"""Cross-layer equalisation: shift scale from one layer to the next until channels are alike, the function unchanged.

M. Nagel, M. van Baalen, T. Blankevoort, M. Welling: "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, arXiv:1906.04721, section 4.1. Eight bits cover a whole activation tensor, so a channel a
hundred times smaller than another is left with two levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .placement import is_layer
from .wiring import Wiring, attribute, output_axis

if TYPE_CHECKING:
    import onnx

THROUGH = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool")  # a channel times s > 0 comes out times s
CONVERGED = 1e-3  # largest change of a factor in a pass, relative
PASSES = 100


@dataclass(frozen=True)
class Chain:
    """Two layers, the second of which alone reads the first. ``flat``: its weight has several inputs a channel."""

    first: onnx.NodeProto
    second: onnx.NodeProto


def equalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the weights of its chains equalised; other ones, and what it computes, stay the same."""
    from onnx import numpy_helper

    made = type(model)()
    made.CopyFrom(model)
    wiring = Wiring.of(made)
    found = list(chains(wiring))
    held = {name: wiring.value(name).astype(np.float64)
            for one in found for node in (one.first, one.second) for name in node.input[1:] if name}
    for _ in range(PASSES):
        if max((balance(one, held) for one in found), default=0.0) < CONVERGED:
            break
    for name, value in held.items():
        wiring.constants[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return made


def chains(wiring: Wiring) -> Iterator[Chain]:
    """Yield all pairs of Conv or Gemm with nothing between them but what keeps channels apart."""
    for node in wiring.nodes:
        if not equalisable(wiring, node):
            continue
        reader = wiring.only_reader(node.output[0])
        while reader is not None and reader.op_type in (*THROUGH, "Flatten"):
            reader = wiring.only_reader(reader.output[0])
        if reader is not None and equalisable(wiring, reader) and inputs_per_channel(wiring, node, reader):
            yield Chain(node, reader)


def equalisable(wiring: Wiring, node: onnx.NodeProto) -> bool:
    """Return whether a node is a dense or convolutional layer, not in groups, whose parameters are its own."""
    return (node.op_type in ("Conv", "Gemm") and is_layer(wiring, node) and attribute(node, "group", 1) == 1
            and all(len(wiring.readers[name]) == 1 and name not in wiring.producers for name in node.input[1:] if name))


def inputs_per_channel(wiring: Wiring, first: onnx.NodeProto, second: onnx.NodeProto) -> int:
    """Return how many inputs of the second layer one channel of the first is; 0 if the two do not fit."""
    channels = wiring.constants[first.input[1]].dims[output_axis(first)]
    inputs = wiring.constants[second.input[1]].dims[1 - output_axis(second)]
    return 0 if inputs % channels or (second.op_type == "Conv" and inputs != channels) else inputs // channels


def balance(chain: Chain, held: dict[str, np.ndarray]) -> float:
    """Make the largest weights into and out of each channel equal; return how much that changed, relative."""
    first, second = chain.first, chain.second
    out, into = output_axis(first), 1 - output_axis(second)
    before = np.moveaxis(held[first.input[1]], out, 0)  # views: changed in place
    after = np.moveaxis(held[second.input[1]], into, 0)
    grouped = after.reshape(len(before), -1)
    ahead, behind = np.abs(before.reshape(len(before), -1)).max(axis=1), np.abs(grouped).max(axis=1)
    alive = (ahead > 0) & (behind > 0)
    factor = np.where(alive, np.sqrt(np.where(alive, behind, 1) / np.where(alive, ahead, 1)), 1.0)
    before *= factor.reshape(-1, *[1] * (before.ndim - 1))
    if len(first.input) > 2 and first.input[2]:
        held[first.input[2]] *= factor
    after /= np.repeat(factor, len(after) // len(before)).reshape(-1, *[1] * (after.ndim - 1))
    return float(np.abs(factor - 1).max())
