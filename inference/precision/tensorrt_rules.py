"""TensorRT's rules for networks quantised in the file, checked without TensorRT.

Sources: NVIDIA's TensorRT developer guide, "Working with Quantized Types", explicit quantisation: the section on the
quantisation scheme and that on where Q/DQ layers belong; and what the parser onnx-tensorrt refuses (its
QuantDequantLinearHelper, release 10.1). Weights in eight bits are refused by TensorRT 8 ("only activation types allowed
as input to this layer", onnxruntime issue 14229), float ones with a Q/DQ pair are read by all. Not checked: what only a
GPU can tell, whether a kernel exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.inference.onnx.wiring import ACTIVATIONS, Wiring, name_of, output_axis

from .placement import LAYERS

if TYPE_CHECKING:
    import onnx

QUANTISING = ("QuantizeLinear", "DequantizeLinear")
BIASED = ("Conv", "Gemm")


def violations(model: onnx.ModelProto) -> list[str]:
    """Return what breaks a rule, in words, each with the node's name; a rendering "s8s8" has none."""
    wiring = Wiring.of(model)
    found = []
    for node in wiring.nodes:
        if node.op_type in QUANTISING:
            found += [*scale(wiring, node), *zero_point(wiring, node), *pairing(wiring, node), *fusion(wiring, node)]
        elif node.op_type in LAYERS:
            found += [*both(wiring, node), *bias(wiring, node)]
        elif node.op_type == "Add":
            found += residual(wiring, node)
    return found


def scale(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """Scales are constant, positive, one for an activation, and for a weight at most one per output channel."""
    name = node.input[1]
    if name not in wiring.constants:
        yield f"{name_of(node)}: its scale {name!r} is computed; it must be a constant"
        return
    value = wiring.value(name)
    if not (np.isfinite(value) & (value > 0)).all():
        yield f"{name_of(node)}: its scale is not positive and finite everywhere (least: {value.min()})"
    if value.size == 1:
        return
    readers = layers_behind(wiring, node)
    weight = original(wiring, node)
    if weight not in wiring.constants:
        yield f"{name_of(node)}: {value.size} scales for an activation; it must have one"
        return
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    shape = tuple(wiring.constants[weight].dims)
    for reader in readers:
        wanted = output_axis(reader)
        if axis % len(shape) != wanted or value.size != shape[wanted]:
            yield (f"{name_of(node)}: {value.size} scales along axis {axis} of {shape}; the weight of "
                   f"{name_of(reader)} must have {shape[wanted]} along axis {wanted}, that of its output channels")


def zero_point(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """Quantisation is symmetric, in signed eight bits."""
    from onnx import TensorProto

    name = node.input[2] if len(node.input) > 2 else ""
    if not name:
        yield f"{name_of(node)}: it has no zero point, which means unsigned; there must be one, int8 and 0"
    elif name not in wiring.constants:
        yield f"{name_of(node)}: its zero point {name!r} is computed; it must be a constant, int8 and 0"
    elif (kind := wiring.constants[name].data_type) != TensorProto.INT8:
        if not feeds_bias(wiring, node):  # said of the layer already
            yield f"{name_of(node)}: its type is {TensorProto.DataType.Name(kind).lower()}; it must be int8"
    elif wiring.value(name).any():
        yield f"{name_of(node)}: its zero point is not 0; quantisation must be symmetric"


def pairing(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """Each Q is read by DQ nodes alone, each DQ reads a Q, and both have the same scale."""
    if node.op_type == "QuantizeLinear":
        readers = wiring.readers.get(node.output[0], ())
        if not readers or any(reader.op_type != "DequantizeLinear" for reader in readers) or (
                node.output[0] in wiring.outputs):
            yield f"{name_of(node)}: what it makes must be read by DequantizeLinear, and by nothing else"
        return
    before = wiring.producers.get(node.input[0])
    if before is None or before.op_type != "QuantizeLinear":
        if not feeds_bias(wiring, node):
            yield f"{name_of(node)}: it must read what a QuantizeLinear makes; weights too stay float in the file"
    elif {before.input[1], node.input[1]} <= wiring.constants.keys() and not np.array_equal(
            wiring.value(before.input[1]), wiring.value(node.input[1])):
        yield f"{name_of(node)}: its scale is not that of {name_of(before)}, which it belongs to"


def fusion(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """Nothing stands between a convolution and the activation that is to be fused into it."""
    before = wiring.producers.get(node.input[0])
    if node.op_type == "QuantizeLinear" and before is not None and before.op_type in BIASED:
        for reader in layers_behind(wiring, node):
            if reader.op_type in ACTIVATIONS:
                yield (f"{name_of(node)}: it stands between {name_of(before)} and {name_of(reader)}, which TensorRT "
                       f"fuses; quantise what {name_of(reader)} makes instead")


def both(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """A layer has both inputs quantised, or none."""
    quantised = [is_dequantised(wiring, name) for name in node.input[:2]]
    if any(quantised) and not all(quantised):
        which = "input" if quantised[1] else "weight"
        yield f"{name_of(node)}: its {which} is not quantised but the other one is; quantise both or neither"


def bias(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """Biases are float."""
    if len(node.input) > 2 and is_dequantised(wiring, node.input[2]):
        yield f"{name_of(node)}: its bias is quantised; it must be float"


def residual(wiring: Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """One convolution before an addition is fused with it, so what that one makes stays as it is."""
    sources = [original(wiring, wiring.producers[name]) for name in node.input if is_dequantised(wiring, name)]
    made = [wiring.producers[name] for name in sources if name in wiring.producers]
    convolutions = [one for one in made if one.op_type == "Conv" and wiring.only_reader(one.output[0]) is not None]
    if len(sources) == 2 and convolutions:
        yield (f"{name_of(node)}: both its inputs are quantised, though {name_of(convolutions[0])} could be fused with "
               "it; quantise the other input alone")


def is_dequantised(wiring: Wiring, name: str) -> bool:
    return name in wiring.producers and wiring.producers[name].op_type == "DequantizeLinear"


def original(wiring: Wiring, node: onnx.NodeProto) -> str:
    """Return the tensor that a Q or DQ node, alone or in a pair, starts from."""
    before = wiring.producers.get(node.input[0])
    if node.op_type == "DequantizeLinear" and before is not None and before.op_type == "QuantizeLinear":
        return before.input[0]
    return node.input[0]


def layers_behind(wiring: Wiring, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that read, through the pair, what a Q or DQ node makes."""
    readers = wiring.readers.get(node.output[0], ())
    if node.op_type == "DequantizeLinear":
        return list(readers)
    return [far for near in readers if near.op_type == "DequantizeLinear" for far in layers_behind(wiring, near)]


def feeds_bias(wiring: Wiring, node: onnx.NodeProto) -> bool:
    """Return whether a Q or DQ node makes a layer's bias, which is reported there."""
    return any(reader.op_type in BIASED and len(reader.input) > 2 and reader.input[2] in node_outputs(wiring, node)
               for reader in layers_behind(wiring, node))


def node_outputs(wiring: Wiring, node: onnx.NodeProto) -> set[str]:
    """Return what a node makes, through the pair as well."""
    return {*node.output, *(far for near in wiring.readers.get(node.output[0], ()) for far in near.output)}
