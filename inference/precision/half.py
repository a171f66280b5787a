"""A float32 network rewritten in fp16 or bf16: weights and arithmetic change type, inputs, outputs and names do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.errors import UsageError, unknown
from dlcompare.inference.onnx.export import SMALL, without_initialisers
from dlcompare.inference.onnx.read import graphs

if TYPE_CHECKING:
    import onnx

TYPES = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}
KEPT = "kept_in_float32"  # the model's metadata under this key names the nodes that stay, one a line
# Sums over many values, and exponentials: their partial results leave fp16's range or bf16's 8 digits before they end.
# Recurrent layers: onnxruntime's kernels for CPUs are float32 alone.
WIDE = {"Softmax", "LogSoftmax", "LayerNormalization", "BatchNormalization", "InstanceNormalization", "CumSum", "Exp",
        "GroupNormalization", "LpNormalization", "QuantizeLinear", "DequantizeLinear", "SoftmaxCrossEntropyLoss",
        "LSTM", "GRU"}
PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
BOUNDED = {"Softmax", "Sigmoid", "Tanh", "Erf", "Clip", "BatchNormalization", "LayerNormalization"}  # outputs are small
BF16_OPSET, BF16_IR = 22, 10  # the first in which a convolution and pooling may be bfloat16


def lower(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in ``fp16`` or ``bf16``; inputs and outputs stay float32.

    Layer norm, batch norm, softmax and other reductions stay in float32, and so does what adds or multiplies a
    constant that fp16 cannot hold (a mask's lowest number, an epsilon of 1e-12), as far as the result reaches;
    metadata ``kept_in_float32`` names them. For bf16 the model's opset is raised to 22, the first whose convolutions
    take it; onnxruntime's kernels for CPUs do not.

    Raises:
        UsageError: no such precision; a weight that products need is beyond fp16's range, it is named; or the model
            has branches or loops, or operators whose meaning opset 22 changed.
    """
    if precision not in TYPES:
        raise unknown("16-bit precision", precision, TYPES)
    if any(graph is not model.graph for graph in graphs(model.graph)):
        raise UsageError(f"{model.graph.name!r} has branches or loops, which are not lowered to {precision}; export it "
                         "without them, or run it in fp32")
    return Lowering(model, precision).result()


class Lowering:
    """One rewriting. A tensor that was float32 is ``low`` or not; casts are made once, ``NAME/fp16``, ``NAME/fp32``."""

    def __init__(self, model: onnx.ModelProto, precision: str) -> None:
        from onnx import TensorProto

        self.model, self.precision = model, precision
        self.type = getattr(TensorProto, TYPES[precision])
        self.light = without_initialisers(model)
        if precision == "bf16":
            raise_opset(self.light)
        self.opset = next(o.version for o in self.light.opset_import if o.domain in ("", "ai.onnx"))
        self.floats = float_tensors(model)
        self.constants = {t.name: t for t in model.graph.initializer}
        constants = dict(constant_tensors(model)) if precision == "fp16" else {}  # bf16 has float32's range
        self.beyond = {name for name, tensor in constants.items() if overflows(tensor)}
        self.vanishing = {name for name, tensor in constants.items() if vanishes(tensor)}
        self.kept = self.kept_nodes()
        self.low: set[str] = set()
        self.done: list[onnx.NodeProto] = []
        self.cast_names: set[str] = set()

    def result(self) -> onnx.ModelProto:
        outputs = {value.name for value in self.model.graph.output}
        self.spell_squares()
        self.lower_initialisers()
        for node in list(self.light.graph.node):
            self.rewrite(node, outputs)
        del self.light.graph.node[:]
        del self.light.graph.value_info[:]  # says float32
        self.light.graph.node.extend(self.done)
        self.light.metadata_props.add(key=KEPT, value="\n".join(sorted(self.kept)))
        return self.light

    def spell_squares(self) -> None:
        """Make x * x of a kept x ** 2.

        onnxruntime knows a layer norm by its power, and joins it with the cast before it to a node whose types differ,
        which it then refuses ("LayerNormalization bound to different types"; 1.32).
        """
        from onnx import numpy_helper

        for node in self.light.graph.node:
            power = self.constants.get(node.input[1]) if node.op_type == "Pow" and key(node) in self.kept else None
            if power is not None and (numpy_helper.to_array(power) == 2).all():
                node.op_type, node.input[1] = "Mul", node.input[0]

    def rewrite(self, node: onnx.NodeProto, outputs: set[str]) -> None:
        """Give the node inputs of the type it computes in, and casts behind it for outputs of the network."""
        low_in, low_out = self.low_places(node)
        if node.op_type != "Cast":
            node.input[:] = [self.cast(name, low=place in low_in) if name in self.floats else name
                             for place, name in enumerate(node.input)]
        self.done.append(node)
        for place, name in enumerate(node.output):
            if name in self.floats and place in low_out:
                self.low.add(name)
                if name in outputs:
                    node.output[place] = f"{name}/{self.precision}"
                    self.add_cast(node.output[place], name, low=False)
                    self.cast_names.add(node.output[place])

    def cast(self, name: str, *, low: bool) -> str:
        """Return the tensor in the type that is asked for, cast if need be."""
        lowered = f"{name}/{self.precision}"
        if name in self.low and lowered in self.cast_names:  # an output of the network, which itself is float32
            return lowered if low else name
        if (name in self.low) == low:
            return name
        wanted = lowered if low else f"{name}/fp32"
        if wanted not in self.cast_names:
            self.cast_names.add(wanted)
            self.add_cast(name, wanted, low=low)
        return wanted

    def add_cast(self, source: str, target: str, *, low: bool) -> None:
        from onnx import TensorProto, helper

        kind = self.type if low else TensorProto.FLOAT
        self.done.append(helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind))

    def low_places(self, node: onnx.NodeProto) -> tuple[set[int], set[int]]:
        """Return which inputs and outputs of a node take the low type: by ONNX's own schema, none if it is kept."""
        from onnx import defs

        if key(node) in self.kept or node.op_type in ("Cast", "Constant"):
            return set(), set()
        schema = defs.get_schema(node.op_type, self.opset)
        allowed = {c.type_param_str for c in schema.type_constraints
                   if f"tensor({TYPES[self.precision].lower()})" in c.allowed_type_strs}
        kinds = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(node.input))]
        low_in = {i for i, name in enumerate(node.input) if name in self.floats and kinds[i] in allowed}
        bound = {kinds[i] for i in low_in}
        low_out = {i for i in range(len(node.output))
                   if schema.outputs[min(i, len(schema.outputs) - 1)].type_str in bound}
        return low_in, low_out

    def lower_initialisers(self) -> None:
        """Store in the low type the weights that only low inputs read; the others as they are."""
        wanted: dict[str, set[bool]] = {value.name: {False} for value in self.model.graph.output}
        for node in self.light.graph.node:
            low_in, _ = self.low_places(node)
            for place, name in enumerate(node.input):
                wanted.setdefault(name, set()).add(place in low_in)
        for name, tensor in self.constants.items():
            if name in self.floats and wanted.get(name) == {True}:
                self.low.add(name)
                tensor = narrow(tensor, self.type)
            if name in wanted:
                self.light.graph.initializer.append(tensor)

    def kept_nodes(self) -> set[str]:
        """Return the nodes that stay in float32: reductions with their surroundings, and what meets unfit constants."""
        groups = {group(n) for n in self.light.graph.node if n.op_type.startswith("Reduce")}
        kept, far = set(), set(self.beyond)
        for node in self.light.graph.node:
            met = [name for name in node.input if name in far]
            if met and node.op_type in PRODUCTS | {"Gather"} and self.beyond & set(met):
                raise UsageError(f"weight {met[0]!r} of node {node.name!r} holds values beyond fp16's range, 65504; "
                                 "run the network in bf16 or fp32")
            inside = group(node) in groups and node.op_type not in PRODUCTS
            sums = node.op_type in WIDE or node.op_type.startswith("Reduce")
            if met or inside or sums or self.vanishing & set(node.input):
                kept.add(key(node))
            if met and node.op_type not in BOUNDED | PRODUCTS:
                far.update(name for name in node.output if name in self.floats)
        return kept


def overflows(tensor: onnx.TensorProto) -> bool:
    """Return whether a float32 constant holds finite numbers that are infinite in fp16."""
    values, rounded = in_fp16(tensor)
    return bool((np.isinf(rounded) & np.isfinite(values)).any())


def vanishes(tensor: onnx.TensorProto) -> bool:
    """Return whether a float32 constant is one number that is 0 in fp16; of many, as a weight has, some may be."""
    values, rounded = in_fp16(tensor)
    return values.size == 1 and bool((rounded == 0).all() and (values != 0).all())


def in_fp16(tensor: onnx.TensorProto) -> tuple[np.ndarray, np.ndarray]:
    from onnx import TensorProto, numpy_helper

    values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.zeros(0, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return values, values.astype(np.float16)


def narrow(tensor: onnx.TensorProto, kind: int) -> onnx.TensorProto:
    """Return a float32 tensor in 16 bits, rounded to the nearest even."""
    from onnx import helper, numpy_helper

    with np.errstate(under="ignore"):
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
    return type(tensor)(name=tensor.name, dims=tensor.dims, data_type=kind, raw_data=values.tobytes())


def constant_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield every constant with its name, whether an initialiser or a Constant node holds it."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], a.t) for a in node.attribute if a.name == "value")


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the names of all float32 tensors; large weights are left out of the inference, which copies the model."""
    from onnx import TensorProto, helper, shape_inference

    light = without_initialisers(model)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= SMALL:
            light.graph.initializer.append(tensor)
        light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    found = shape_inference.infer_shapes(light).graph
    return {v.name for v in (*found.input, *found.output, *found.value_info)
            if v.type.tensor_type.elem_type == TensorProto.FLOAT}


def raise_opset(model: onnx.ModelProto) -> None:
    """Raise the model to the opset in which all ops may be bfloat16; reductions then read their axes as an input.

    ONNX's own converter does the same and more, but renames tensors.
    """
    from onnx import numpy_helper

    opset = next(o for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset.version >= BF16_OPSET:
        return
    if opset.version < 18:
        split = [n.name for n in model.graph.node if n.op_type == "Split"]
        if split:
            raise UsageError(f"node {split[0]!r} is a Split of opset {opset.version}, whose meaning changed; to run "
                             f"it in bf16 convert the model to opset {BF16_OPSET} with onnx.version_converter")
        for node in (n for n in model.graph.node if n.op_type.startswith("Reduce")):
            for attribute in [a for a in node.attribute if a.name == "axes"]:
                axes = f"{node.output[0]}/axes"
                model.graph.initializer.append(numpy_helper.from_array(np.array(attribute.ints, np.int64), axes))
                node.input.append(axes)
                node.attribute.remove(attribute)
    opset.version, model.ir_version = BF16_OPSET, max(BF16_IR, model.ir_version)


def group(node: onnx.NodeProto) -> str:
    """Return the op or module that a node is part of: ``NAME/part`` and ``NAME`` are of one group."""
    return node.name.rpartition("/")[0] or node.name


def key(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
