"""A user's own network rewritten so that what comes later finds it as it expects: the same function, plainer.

Initialisers are no inputs, constants are initialisers, floats are float32, an open batch is an axis with a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import UsageError

from .export import without_initialisers
from .read import OPEN, graphs

if TYPE_CHECKING:
    import numpy as np
    import onnx

# What exporters put between a weight and its layer: moves, and the arithmetic of weight normalisation.
FOLDED = ("Constant", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Add", "Sub",
          "Mul", "Div", "Sqrt", "Neg")
HALVES = ("FLOAT16", "BFLOAT16")


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network that does the same; the one that is given stays as it is.

    Raises:
        UsageError: a constant cannot be computed; its node is named.
    """
    found = without_initialisers(model)
    found.graph.initializer.extend(model.graph.initializer)
    drop_listed_initialisers(found)
    name_open_batches(found)
    if halves(found):
        widen(found)
    fold_constants(found)
    return found


def drop_listed_initialisers(model: onnx.ModelProto) -> None:
    """Take initialisers out of the inputs, where files of IR version 3, and those converted from them, list them."""
    held = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def name_open_batches(model: onnx.ModelProto) -> None:
    """Give a first axis of size 0 or -1, as some exporters write an open one, a name; engines take the size literally.

    What was noted of inner tensors' shapes goes, for it says the same.
    """
    changed = False
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim[:1]:
            if axis.HasField("dim_value") and axis.dim_value <= 0:
                axis.dim_param, changed = OPEN, True
    if changed:
        del model.graph.value_info[:]


def halves(model: onnx.ModelProto) -> list[str]:
    """Return the names of constants and of nodes whose type is a float of 16 bits."""
    from onnx import TensorProto

    kinds = {getattr(TensorProto, name) for name in HALVES}
    held = [tensor.name for graph in graphs(model.graph) for tensor in graph.initializer if tensor.data_type in kinds]
    return held + [node.name or node.output[0] for graph in graphs(model.graph) for node in graph.node
                   if any(one.t.data_type in kinds or (one.name in ("to", "dtype") and one.i in kinds)
                          for one in node.attribute)]


def widen(model: onnx.ModelProto) -> None:
    """Make float32 of all that is a float of 16 bits: such values are float32 numbers too, so none changes."""
    from onnx import TensorProto

    kinds = {getattr(TensorProto, name) for name in HALVES}
    for graph in graphs(model.graph):
        del graph.value_info[:]
        for tensor in graph.initializer:
            widen_tensor(tensor, kinds)
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type in kinds:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for attribute in (one for node in graph.node for one in node.attribute):
            widen_tensor(attribute.t, kinds)
            if attribute.name in ("to", "dtype") and attribute.i in kinds:
                attribute.i = TensorProto.FLOAT


def widen_tensor(tensor: onnx.TensorProto, kinds: set[int]) -> None:
    """Make a tensor float32 if it is of one of the kinds."""
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type in kinds:
        wide = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def fold_constants(model: onnx.ModelProto) -> None:
    """Make initialisers of what is computed from constants alone, in the types and by the rules of ONNX."""
    from onnx import numpy_helper

    held = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    kept = []
    for node in model.graph.node:
        fixed = all(name in held for name in node.input if name)
        if node.op_type not in FOLDED or not fixed or outputs.intersection(node.output):
            kept.append(node)
            continue
        value = computed(node, {name: numpy_helper.to_array(held[name]) for name in node.input if name}, model)
        tensor = numpy_helper.from_array(value, node.output[0])
        held[tensor.name] = tensor
        model.graph.initializer.append(tensor)
    left = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(left)
    drop_unread(model)


def computed(node: onnx.NodeProto, values: dict[str, np.ndarray], model: onnx.ModelProto) -> np.ndarray:
    """Return what a node of one output makes of constants."""
    import numpy as np
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    given = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
             for name, value in values.items()]
    made = [helper.make_tensor_value_info(node.output[0], 1, None)]  # of what type, the node decides
    graph = helper.make_graph([node], "constant", given, made)
    alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        results: Any = ReferenceEvaluator(alone).run(None, values)
    except Exception as error:  # whatever its arithmetic raises
        raise UsageError(f"the constant {node.output[0]!r}, which a {node.op_type} makes, cannot be computed "
                         f"({' '.join(str(error).split())[:200]}); export the network again") from error
    return np.asarray(results[0])


def drop_unread(model: onnx.ModelProto) -> None:
    """Take out the initialisers that nothing reads."""
    read = {name for graph in graphs(model.graph) for node in graph.node for name in node.input}
    read |= {value.name for graph in graphs(model.graph) for value in graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
