"""Whether an engine's INT8 kernels add products rightly on this machine: a file with known sums, to be asked with.

x86 CPUs with AVX2 or AVX-512 but without VNNI multiply u8 by s8 with ``vpmaddubsw``, which adds two products in 16 bits
and saturates at 32767: two of 255 x 127 come to 64770. Nothing says so; a trained network merely loses points. Which
kernels an engine takes is its own affair, so it is the engine that is asked, not the CPU's flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.graph import Input

from .quantise import quantise

if TYPE_CHECKING:
    import onnx

    from dlcompare.core.plugins.engine import Session

HIGHEST = 255.0  # what every input holds and every layer is to answer: its weights are all the same and sum to 1
LEAST = 0.98  # of the exact sum; rounding to eight bits takes 0.002 off, and saturation leaves 0.5 to 0.7
INPUTS = {"image": Input((3, 8, 8)), "features": Input((32, 8, 8)), "rows": Input((64,))}
# By what tables call it: the input it reads, the shape of its weights. Engines have kernels of their own for the three
# channels of an image, for 1 x 1 and for depthwise convolutions.
LAYERS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "Conv 3x3 of an image": ("image", (32, 3, 3, 3)), "Conv 3x3": ("features", (32, 32, 3, 3)),
    "Conv 1x1": ("features", (32, 32, 1, 1)), "Conv 3x3 depthwise": ("features", (32, 1, 3, 3)),
    "Gemm": ("rows", (64, 32)), "MatMul": ("rows", (64, 32))}


def question(*, weight_bits: int = 8) -> onnx.ModelProto:
    """Return a file in ``u8s8`` of one layer of each kind, all steps of activations and weights at their highest."""
    from onnx import helper, numpy_helper

    nodes, weights = [], []
    for name, (read, shape) in LAYERS.items():
        kind = name.partition(" ")[0]
        inner = np.prod(shape[1:]) if kind == "Conv" else shape[0]
        weights.append(numpy_helper.from_array(np.full(shape, 1 / inner, np.float32), f"{name}/weights"))
        groups: dict[str, Any] = {"group": INPUTS[read].shape[0] // shape[1]} if kind == "Conv" else {}
        nodes.append(helper.make_node(kind, [read, f"{name}/weights"], [name], name=name, **groups))
    given = [helper.make_tensor_value_info(name, 1, ["N", *spec.shape]) for name, spec in INPUTS.items()]
    made = [helper.make_tensor_value_info(name, 1, None) for name in LAYERS]
    graph = helper.make_graph(nodes, "saturation", given, made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return quantise(model, dict.fromkeys([*INPUTS, *LAYERS], (0.0, HIGHEST)), scheme="u8s8", weight_bits=weight_bits)


def shares(session: Session, inputs: Mapping[str, Input]) -> dict[str, float]:
    """Return by layer of a :func:`question` which share of the exact sum its smallest answer came to."""
    session.run(session.place({name: np.full((1, *spec.shape), HIGHEST, np.float32) for name, spec in inputs.items()}))
    session.wait()
    return {name: float(np.min(value)) / HIGHEST for name, value in session.fetch().items()}


def saturating(found: Mapping[str, float]) -> dict[str, float]:
    """Return the layers whose sums clearly fall short, with the share that is left."""
    return {name: share for name, share in found.items() if share < LEAST}
