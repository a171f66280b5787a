"""A network in INT8: the same ONNX file with QuantizeLinear and DequantizeLinear where engines look for them.

Two ways of writing it, for no engine is fast with the other's. ``u8s8`` is for CPUs: unsigned activations with a zero
point, signed weights by channel, biases in 32 bits. ``s8s8`` is TensorRT's: symmetric activations, float biases, and
float weights that are quantised in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import UsageError, unknown
from dlcompare.inference.onnx.wiring import Wiring, name_of, output_axis

from .placement import LAYERS, Placement
from .ranges import SCHEMES, step

if TYPE_CHECKING:
    import onnx

Ranges = Mapping[str, tuple[float, float]]
LARGEST_BIAS = 2**30  # steps; half of what 32 bits hold, for sums are added to it
# Of magnitude, by the bits that weights take. Where a CPU adds two products of eight bits in 16 and saturates, 7 bits
# are right: 2 x 255 x 64 fits, 2 x 255 x 127 does not (see saturation.py).
WEIGHT_LEVELS = {8: 127, 7: 64}
NEWEST_OPSET = 27  # that onnxruntime 1.32 has kernels of QuantizeLinear for
LEAST_SCALE = 1e-24  # still a normal float32 number after a multiplication with an activation's


def activation_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the tensors whose ranges either scheme needs: what layers with weights read, and what convolutions, and
    the additions and poolings after them, make. Where an activation follows it is its output."""
    wiring = Wiring.of(model)
    placed = [Placement.of(wiring, scheme, frozenset()) for scheme in SCHEMES]
    return list(dict.fromkeys(one.sources[name] for one in placed for name in one.tensors))


def quantise(model: onnx.ModelProto, ranges: Ranges, *, scheme: str, exclude: Collection[str] = frozenset(),
             weight_bits: int = 8) -> onnx.ModelProto:
    """Return the model in INT8, its weights in as many of the eight bits as are asked for.

    Tensors of ``exclude`` stay float; a layer that reads one does too, and in ``u8s8`` a convolution that makes one.

    Raises:
        UsageError: there is no such scheme or tensor, weights cannot take so many bits, a range is missing, or the
            opset is below 13, or so new that an operator means something that no engine quantises.
    """
    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    if weight_bits not in WEIGHT_LEVELS:
        raise UsageError(f"weights of an INT8 file take {' or '.join(map(str, WEIGHT_LEVELS))} bits, not {weight_bits}")
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    if opset < 13:
        raise UsageError(f"quantisation by channel needs opset 13 or newer, and the network is of opset {opset}; "
                         "export it again, or convert it with onnx.version_converter.convert_version")
    if strange := sorted(set(exclude) - set(activation_tensors(model))):
        raise unknown("activation tensor", strange[0], activation_tensors(model))
    made = type(model)()
    made.CopyFrom(model)
    lower_opset(made, opset)
    Renderer(made, ranges, scheme, frozenset(exclude), WEIGHT_LEVELS[weight_bits]).render()
    return made


def lower_opset(model: onnx.ModelProto, opset: int) -> None:
    """Say that the model is of the newest opset that can be quantised, if its operators mean the same there."""
    from onnx import defs

    if opset <= NEWEST_OPSET:
        return
    changed = sorted({node.op_type for node in model.graph.node
                      if defs.get_schema(node.op_type, opset).since_version > NEWEST_OPSET})
    if changed:
        raise UsageError(f"the network is of opset {opset}, whose {', '.join(changed)} no engine quantises; export it "
                         f"at opset {NEWEST_OPSET} or below, or run it with --precision fp32")
    next(one for one in model.opset_import if one.domain in ("", "ai.onnx")).version = NEWEST_OPSET


class Renderer:
    """Rewrites a model in place."""

    def __init__(self, model: onnx.ModelProto, ranges: Ranges, scheme: str, exclude: frozenset[str],
                 levels: int) -> None:
        self.graph, self.ranges, self.scheme, self.levels = model.graph, ranges, scheme, levels
        self.wiring = Wiring.of(model)
        self.placed = Placement.of(self.wiring, scheme, exclude)
        self.constants: dict[str, np.ndarray] = {}
        self.before: dict[str, list[onnx.NodeProto]] = {}  # what a layer's weights need, by what the layer makes
        self.after: dict[str, list[onnx.NodeProto]] = {}  # what follows a tensor's producer, by tensor

    def render(self) -> None:
        from onnx import numpy_helper

        for tensor in self.placed.tensors:
            self.pair(tensor)
        for node in self.placed.layers:
            self.weights(node)
        for node, index, tensor in self.placed.reads:
            node.input[index] = f"{tensor}/dequantised"
        ordered = [type(node).FromString(node.SerializeToString()) for node in self.in_order()]
        # What leaves the network has gone through eight bits as well, and keeps its name.
        renamed = {name: f"{name}/float" for name in self.placed.outputs} | {
            f"{name}/dequantised": name for name in self.placed.outputs}
        for node in ordered:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        read = {name for node in ordered for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        self.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())

    def in_order(self) -> Iterator[onnx.NodeProto]:
        """Yield all nodes in an order in which they can run."""
        yield from self.after.get("", [])
        for node in self.wiring.nodes:
            yield from self.before.get(node.output[0], [])
            yield node
            for name in node.output:
                yield from self.after.get(name, [])

    def pair(self, tensor: str) -> None:
        """Quantise an activation and take it back, right after the node that makes it."""
        source = self.placed.sources[tensor]
        scale, zero = self.parameters(source)
        self.constants[f"{source}/scale"], self.constants[f"{source}/zero_point"] = scale, zero
        place = tensor if tensor in self.wiring.producers else ""
        self.after.setdefault(place, []).extend(
            self.node(kind, [read, f"{source}/scale", f"{source}/zero_point"], name) for kind, read, name in (
                ("QuantizeLinear", tensor, f"{tensor}/quantised"),
                ("DequantizeLinear", f"{tensor}/quantised", f"{tensor}/dequantised")))

    def parameters(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and zero point of a tensor."""
        if source not in self.ranges:
            raise UsageError(f"there is no range for the tensor {source!r}; ranges must be of this very network. "
                             "Calibrate it again")
        low, high = min(self.ranges[source][0], 0.0), max(self.ranges[source][1], 0.0)
        scale = np.float32(step(low, high, self.scheme) or 1.0)
        if self.scheme == "s8s8":
            return scale, np.int8(0)
        return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))

    def weights(self, node: onnx.NodeProto) -> None:
        """Quantise the weight of a layer by output channel, and in u8s8 its bias in steps of input times weight."""
        made, axis, weight = node.output[0], output_axis(node), self.wiring.value(node.input[1]).astype(np.float32)
        bias = self.wiring.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        scale = weight_scale(weight, axis, self.levels)
        name = f"{made}/weight"
        if self.scheme == "s8s8":
            self.before[made] = self.float_weights(node, name, scale, axis)
            return
        reading = self.constants[f"{self.placed.sources[node.input[0]]}/scale"]
        if bias is not None:  # where a channel's weights are as good as nothing, steps of the bias would overflow
            scale = np.maximum(scale, np.abs(bias) / (reading * np.float32(LARGEST_BIAS)))
        integers = weight_steps(weight, scale, axis, self.levels).astype(np.int8)
        self.before[made] = [self.dequantised_constant(name, integers, scale.astype(np.float32), axis)]
        node.input[1] = f"{name}/dequantised"
        if bias is not None:
            steps = (reading * scale).astype(np.float32)
            whole = np.rint(bias.astype(np.float64) / steps).astype(np.int32)
            self.before[made].append(self.dequantised_constant(f"{made}/bias", whole, steps, 0))
            node.input[2] = f"{made}/bias/dequantised"

    def float_weights(self, node: onnx.NodeProto, name: str, scale: np.ndarray, axis: int) -> list[onnx.NodeProto]:
        """Return the nodes that quantise a weight in the file itself and take it back."""
        self.constants[f"{name}/scale"] = scale.astype(np.float32)
        self.constants[f"{name}/zero_point"] = np.zeros(len(scale), np.int8)
        pair = [self.node(kind, [read, f"{name}/scale", f"{name}/zero_point"], made, axis=axis)
                for kind, read, made in (("QuantizeLinear", node.input[1], f"{name}/quantised"),
                                         ("DequantizeLinear", f"{name}/quantised", f"{name}/dequantised"))]
        node.input[1] = f"{name}/dequantised"
        return pair

    def dequantised_constant(self, name: str, integers: np.ndarray, scale: np.ndarray, axis: int) -> onnx.NodeProto:
        """Keep integers in the file; return the node that makes them float."""
        self.constants[f"{name}/quantised"], self.constants[f"{name}/scale"] = integers, scale
        self.constants[f"{name}/zero_point"] = np.zeros(len(scale), integers.dtype)
        return self.node("DequantizeLinear", [f"{name}/quantised", f"{name}/scale", f"{name}/zero_point"],
                         f"{name}/dequantised", axis=axis)

    def node(self, kind: str, inputs: list[str], output: str, **attrs: Any) -> onnx.NodeProto:
        from onnx import helper

        return helper.make_node(kind, inputs, [output], name=output, **attrs)


def weight_scale(weight: np.ndarray, axis: int, levels: int) -> np.ndarray:
    """Return the step of a weight for each output channel."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    found: np.ndarray = np.maximum(np.abs(weight).max(axis=others) / np.float32(levels), np.float32(LEAST_SCALE))
    return found


def weight_steps(weight: np.ndarray, scale: np.ndarray, axis: int, levels: int) -> np.ndarray:
    """Return a weight in whole steps of its channels."""
    found: np.ndarray = np.clip(np.rint(weight / along(scale, axis, weight.ndim)), -levels, levels)
    return found


def along(scale: np.ndarray, axis: int, axes: int) -> np.ndarray:
    """Return one value for each output channel, to be multiplied with a weight of so many axes."""
    return scale.reshape([-1 if a == axis else 1 for a in range(axes)])


def rounded(weight: np.ndarray, axis: int, bits: int) -> np.ndarray:
    """Return a weight as a layer in INT8 has it."""
    levels = WEIGHT_LEVELS[bits]
    scale = weight_scale(weight, axis, levels)
    found: np.ndarray = weight_steps(weight, scale, axis, levels) * along(scale, axis, weight.ndim)
    return found


def layers_left(model: onnx.ModelProto) -> list[str]:
    """Return the layers (Conv, Gemm, MatMul) that do not read both inputs from eight bits."""
    wiring = Wiring.of(model)
    return [name_of(node) for node in wiring.nodes if node.op_type in LAYERS and not all(
        name in wiring.producers and wiring.producers[name].op_type == "DequantizeLinear" for name in node.input[:2])]
