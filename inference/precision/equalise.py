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

from dlcompare.inference.onnx.wiring import Wiring, output_axis

from .placement import is_layer

if TYPE_CHECKING:
    import onnx

THROUGH = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool")  # a channel times s > 0 comes out times s
CONVERGED = 1e-3  # largest change of a factor in a pass, relative
PASSES = 100


@dataclass(frozen=True)
class Chain:
    """Two layers, the second of which alone reads the first."""

    first: onnx.NodeProto
    second: onnx.NodeProto


@dataclass
class Layer:
    """The largest weight from each channel into each: ``sizes`` (out, in); and the factors of both that were found."""

    sizes: np.ndarray
    out: np.ndarray
    into: np.ndarray

    @classmethod
    def of(cls, wiring: Wiring, node: onnx.NodeProto, channels: int) -> Layer:
        """Return a layer that reads so many channels."""
        weight = np.abs(np.moveaxis(wiring.value(node.input[1]), output_axis(node), 0))
        sizes = weight.reshape(len(weight), channels, -1).max(axis=2)
        return cls(sizes, np.ones(len(weight)), np.ones(channels))


def equalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the weights of its chains equalised; other ones, and what it computes, stay the same."""
    made = type(model)()
    made.CopyFrom(model)
    wiring = Wiring.of(made)
    found = list(chains(wiring))
    channels = {one.second.output[0]: wiring.constants[one.first.input[1]].dims[output_axis(one.first)]
                for one in found}
    nodes = {node.output[0]: node for one in found for node in (one.first, one.second)}
    layers = {name: Layer.of(wiring, node, channels.get(name, inputs(wiring, node))) for name, node in nodes.items()}
    for _ in range(PASSES):
        changes = [balance(layers[one.first.output[0]], layers[one.second.output[0]]) for one in found]
        if max(changes, default=0.0) < CONVERGED:
            break
    for name, layer in layers.items():
        apply(wiring, nodes[name], layer)
    return made


def chains(wiring: Wiring) -> Iterator[Chain]:
    """Yield all pairs of Conv or Gemm with nothing between them but what keeps channels apart."""
    for node in wiring.nodes:
        if not equalisable(wiring, node):
            continue
        reader = wiring.only_reader(node.output[0])
        while reader is not None and reader.op_type in (*THROUGH, "Flatten"):
            reader = wiring.only_reader(reader.output[0])
        if reader is not None and equalisable(wiring, reader) and fit(wiring, node, reader):
            yield Chain(node, reader)


def equalisable(wiring: Wiring, node: onnx.NodeProto) -> bool:
    """Return whether a node is a dense or convolutional layer whose parameters are its own."""
    return (node.op_type in ("Conv", "Gemm") and is_layer(wiring, node)
            and all(len(wiring.readers[name]) == 1 and name not in wiring.producers for name in node.input[1:] if name))


def inputs(wiring: Wiring, node: onnx.NodeProto) -> int:
    return int(wiring.constants[node.input[1]].dims[1 - output_axis(node)])


def fit(wiring: Wiring, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    """Return whether each channel of the first layer is as many inputs of the second; not if that one is in groups,
    for its weights have fewer inputs than it reads channels."""
    channels = wiring.constants[first.input[1]].dims[output_axis(first)]
    return inputs(wiring, second) == channels or (second.op_type == "Gemm" and not inputs(wiring, second) % channels)


def balance(first: Layer, second: Layer) -> float:
    """Make the largest weights into and out of each channel equal; return how much that changed, relative."""
    ahead = (first.sizes * first.into).max(axis=1) * first.out
    behind = (second.sizes * second.out[:, None]).max(axis=0) * second.into
    alive = (ahead > 0) & (behind > 0)
    factor = np.where(alive, np.sqrt(np.where(alive, behind, 1) / np.where(alive, ahead, 1)), 1.0)
    first.out *= factor
    second.into /= factor
    return float(np.abs(factor - 1).max())


def apply(wiring: Wiring, node: onnx.NodeProto, layer: Layer) -> None:
    """Multiply a layer's parameters by the factors that were found for it."""
    from onnx import numpy_helper

    weight = np.moveaxis(wiring.value(node.input[1]).copy(), output_axis(node), 0)
    weight *= layer.out.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float32)
    each = weight.shape[1] // len(layer.into)
    weight *= np.repeat(layer.into, each).reshape(1, -1, *[1] * (weight.ndim - 2)).astype(np.float32)
    changed = {node.input[1]: np.ascontiguousarray(np.moveaxis(weight, 0, output_axis(node)))}
    for name in filter(None, node.input[2:3]):
        changed[name] = (wiring.value(name) * layer.out).astype(np.float32)
    for name, value in changed.items():
        wiring.constants[name].CopyFrom(numpy_helper.from_array(value, name))
