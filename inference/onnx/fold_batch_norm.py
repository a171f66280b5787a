"""Batch norm of a user's own ONNX file, folded into the convolution before it: unfolded it costs INT8 half its gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .wiring import Wiring, attribute

if TYPE_CHECKING:
    import onnx

EPSILON = 1e-5  # ONNX's default


def fold_batch_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network that does the same, without the batch norms that alone read a convolution; computed in float64.

    The result bears the name of what the batch norm made, the new weight and bias those of the old with ``/folded``.
    """
    from onnx import ModelProto

    found = ModelProto()
    found.CopyFrom(model)
    wiring = Wiring.of(found)
    for norm in [node for node in wiring.nodes if node.op_type == "BatchNormalization"]:
        conv = wiring.producers.get(norm.input[0])
        if conv is not None and foldable(wiring, conv, norm):
            fold(found, wiring, conv, norm)
    return found


def foldable(wiring: Wiring, conv: onnx.NodeProto, norm: onnx.NodeProto) -> bool:
    """Return whether a batch norm alone reads a convolution, and all that both hold is constant."""
    return (conv.op_type == "Conv" and wiring.only_reader(conv.output[0]) is norm
            and all(name in wiring.constants for name in [*conv.input[1:], *norm.input[1:]])
            and not attribute(norm, "training_mode", 0))


def fold(model: onnx.ModelProto, wiring: Wiring, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    """Let the convolution do what both do, and take the batch norm out."""
    import numpy as np
    from onnx import numpy_helper

    scale, shift, mean, variance = (wiring.value(name).astype(np.float64) for name in norm.input[1:5])
    weight, bias = wiring.value(conv.input[1]), wiring.value(conv.input[2]) if len(conv.input) > 2 else 0.0
    factor = scale / np.sqrt(variance + attribute(norm, "epsilon", EPSILON))
    new = {"weight": weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), "bias": (bias - mean) * factor + shift}
    names = [f"{conv.output[0]}/{part}/folded" for part in new]
    for name, value in zip(names, new.values(), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(value.astype(weight.dtype), name))
    conv.input[1:] = names
    conv.output[0] = norm.output[0]
    model.graph.node.remove(norm)
