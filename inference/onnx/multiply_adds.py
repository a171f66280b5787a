"""How many multiply-adds each layer of an ONNX network takes for one sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from .wiring import Wiring, name_of, output_axis

if TYPE_CHECKING:
    import onnx

LAYERS = ("Conv", "Gemm", "MatMul")


def multiply_adds(model: onnx.ModelProto) -> dict[tuple[str, str], int]:
    """Return by name and output of each layer with constant weights its multiply-adds; 0 where shapes are not known."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
              for value in (*graph.value_info, *graph.output)}
    wiring, found = Wiring.of(model), dict[tuple[str, str], int]()
    for node in wiring.nodes:
        if node.op_type in LAYERS and node.input[1] in wiring.constants:
            weight = list(wiring.constants[node.input[1]].dims)
            each = math.prod(weight) // weight[output_axis(node)]  # for one number that the layer makes
            found[name_of(node), node.output[0]] = each * math.prod(shapes.get(node.output[0], [0, 0])[1:])
    return found


def share(counts: Mapping[tuple[str, str], int], left: Collection[str]) -> float:
    """Return which share of the multiply-adds is not in the layers that are left, by their names or outputs."""
    whole = sum(counts.values())
    out = sum(count for names, count in counts.items() if not {*names}.isdisjoint(left))
    return 1 - out / whole if whole else float(not left)
