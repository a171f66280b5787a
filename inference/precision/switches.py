"""A network in FP32 in which one activation at a time can be rounded to eight bits, or clipped to its range, or one
layer's weights rounded.

So what each costs is seen where it counts, in the network's answers, and rounding is told from clipping: a tensor whose
values matter most may be small beside others, and one that is clipped may have a fine step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.inference.onnx.wiring import Wiring, output_axis

from .histograms import Artifact
from .placement import Placement
from .quantise import rounded
from .ranges import step

if TYPE_CHECKING:
    import onnx

ROUNDING, CLIPPING, WEIGHTS = "rounding", "clipping", "weights"
Ranges = Mapping[str, tuple[float, float]]


def switched(model: onnx.ModelProto, ranges: Ranges, clipped: set[str], *, scheme: str,
             bits: int = 8) -> onnx.ModelProto:
    """Return the network with inputs ``TENSOR/rounding`` for each tensor, ``TENSOR/clipping`` for those clipped, and
    ``OUTPUT/weights`` for each layer, by what it makes, whose weights take so many ``bits``: one number each, 1 for on
    and 0 for off, when the network computes what it did."""
    from onnx import helper

    made = type(model)()
    made.CopyFrom(model)
    wiring = Wiring.of(made)
    nodes: dict[str, list[onnx.NodeProto]] = {"": [
        node for layer in layers(wiring, scheme) for node in rounding_weights(made, wiring, layer, bits)]}
    for tensor, (low, high) in ranges.items():
        maker = wiring.producers.get(tensor)
        source, result = (tensor, f"{tensor}/switched") if maker is None else (f"{tensor}/float", tensor)
        for node in wiring.readers.get(tensor, ()) if maker is None else ():
            node.input[:] = [result if name == tensor else name for name in node.input]
        if maker is not None:
            maker.output[:] = [source if name == tensor else name for name in maker.output]
        nodes.setdefault(source if maker is not None else "", []).extend(
            pair(made, tensor, source, result, low=low, high=high, scheme=scheme, clips=tensor in clipped))
        switches = [ROUNDING, *([CLIPPING] if tensor in clipped else [])]
        made.graph.input.extend(helper.make_tensor_value_info(f"{tensor}/{name}", 1, [1]) for name in switches)
    ordered = [type(node).FromString(node.SerializeToString()) for node in in_order(wiring, nodes)]
    del made.graph.node[:]
    made.graph.node.extend(ordered)
    return made


def layers(wiring: Wiring, scheme: str) -> dict[str, str]:
    """Return by what it makes the activation that each layer in INT8 reads."""
    placed = Placement.of(wiring, scheme, frozenset())
    return {node.output[0]: placed.sources[node.input[0]] for node in placed.layers}


def rounding_weights(model: onnx.ModelProto, wiring: Wiring, layer: str, bits: int) -> list[onnx.NodeProto]:
    """Let a layer read its weight plus what rounding changes of it, times a switch; return the nodes that add it."""
    from onnx import helper, numpy_helper

    node, switch = wiring.producers[layer], f"{layer}/{WEIGHTS}"
    weight = wiring.value(node.input[1]).astype(np.float32)
    change = (rounded(weight, output_axis(node), bits) - weight).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(change, f"{switch}/change"))
    model.graph.input.append(helper.make_tensor_value_info(switch, 1, [1]))
    made = [helper.make_node("Mul", [f"{switch}/change", switch], [f"{switch}/changed"], name=f"{switch}/changed"),
            helper.make_node("Add", [node.input[1], f"{switch}/changed"], [f"{switch}/switched"], name=switch)]
    node.input[1] = f"{switch}/switched"
    return made


def in_order(wiring: Wiring, nodes: Mapping[str, list[onnx.NodeProto]]) -> list[onnx.NodeProto]:
    """Return all nodes in an order in which they can run; those of inputs come first."""
    found = [*nodes.get("", ())]
    for node in wiring.nodes:
        found += [node, *(one for name in node.output for one in nodes.get(name, ()))]
    return found


def pair(model: onnx.ModelProto, tensor: str, source: str, result: str, *, low: float, high: float, scheme: str,
         clips: bool) -> list[onnx.NodeProto]:
    """Return the nodes that make ``result`` of ``source``: itself, plus what rounding changes within the range, plus
    what clipping to the range changes, each times its switch."""
    from onnx import helper, numpy_helper

    def constant(name: str, value: np.generic) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"{tensor}/{name}"))
        return f"{tensor}/{name}"

    def node(kind: str, *inputs: str, made: str = "") -> str:
        name = made or f"{tensor}/{len(found)}"
        found.append(helper.make_node(kind, list(inputs), [name], name=f"{name}/switch"))
        return name

    found: list[onnx.NodeProto] = []
    width = np.float32(step(low, high, scheme) or 1.0)
    zero = np.int8(0) if scheme == "s8s8" else np.uint8(np.clip(np.rint(-low / width), 0, 255))
    scale, point = constant("scale", width), constant("zero_point", zero)
    inside = node("Clip", source, constant("low", np.float32(low)), constant("high", np.float32(high)))
    rounded = node("DequantizeLinear", node("QuantizeLinear", source, scale, point), scale, point)
    change = node("Mul", node("Sub", rounded, inside), f"{tensor}/{ROUNDING}")
    if clips:
        change = node("Add", change, node("Mul", node("Sub", inside, source), f"{tensor}/{CLIPPING}"))
    node("Add", source, change, made=result)
    return found


def clipped(artifact: Artifact, ranges: Ranges) -> set[str]:
    """Return the tensors that held more than their range."""
    return {name for name, (low, high) in ranges.items()
            if artifact.tensors[name].low < low or artifact.tensors[name].high > high}
