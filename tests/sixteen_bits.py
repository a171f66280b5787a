"""16-bit arithmetic for engines that have no kernels for it: the same roundings, at float32's speed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dlcompare.inference.onnx.export import without_initialisers

if TYPE_CHECKING:
    import onnx

MOVING = {"Gather", "Reshape", "Transpose", "Flatten", "Unsqueeze", "Squeeze", "Slice", "Identity", "Concat"}


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a lowered model whose 16-bit arithmetic is done in float32 between casts, for engines without kernels.

    Operands and results are rounded as in the lowered model; only sums inside an operator keep more digits, as they do
    in hardware. Says what accuracy to expect, nothing about speed.
    """
    from onnx import TensorProto, helper

    kinds = [TensorProto.FLOAT16, TensorProto.BFLOAT16]
    typed = {v.name: v.type.tensor_type.elem_type for v in typed_tensors(model)}
    light = without_initialisers(model)
    light.graph.initializer.extend(model.graph.initializer)
    del light.graph.node[:]
    for node in model.graph.node:
        low_in = {n for n in node.input if typed.get(n) in kinds}
        if node.op_type == "Cast" or node.op_type in MOVING or not low_in:
            light.graph.node.append(node)
            continue
        for name in sorted(low_in):
            light.graph.node.append(helper.make_node("Cast", [name], [f"{name}/up/{node.name}"], to=TensorProto.FLOAT))
        wide = light.graph.node.add()
        wide.CopyFrom(node)
        wide.input[:] = [f"{n}/up/{node.name}" if n in low_in else n for n in node.input]
        for place, name in enumerate(node.output):
            if typed.get(name) in kinds:
                wide.output[place] = f"{name}/up"
                light.graph.node.append(helper.make_node("Cast", [f"{name}/up"], [name], to=typed[name]))
    return light


def typed_tensors(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    from onnx import helper, shape_inference

    found = shape_inference.infer_shapes(model).graph
    yield from (*found.input, *found.output, *found.value_info)
    for tensor in model.graph.initializer:
        yield helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
