"""Where an engine's INT8 arithmetic parts from the file's: tensor by tensor, in steps of the file's own scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.inference.onnx.wiring import ACTIVATIONS, Wiring, name_of

from .histograms import instrument
from .placement import MOVING

if TYPE_CHECKING:
    import onnx

APART = 1.0  # steps, root mean square: kernels that round otherwise are a step off here and there


@dataclass(frozen=True)
class Watched:
    """An activation that a file stores in eight bits: the tensor as it reads it back, the step, and the layer."""

    tensor: str
    step: float
    layer: str


def watched(model: onnx.ModelProto) -> list[Watched]:
    """Return what an INT8 file stores in eight bits of what its layers make, in the order in which they make it."""
    wiring, found = Wiring.of(model), []
    for node in wiring.nodes:
        before = wiring.producers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        maker = wiring.producers.get(before.input[0]) if before is not None else None
        if maker is not None:
            while maker.op_type in (*ACTIVATIONS, *MOVING) and maker.input[0] in wiring.producers:
                maker = wiring.producers[maker.input[0]]
            found.append(Watched(node.output[0], float(wiring.value(node.input[1])), name_of(maker)))
    return found


def watch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an INT8 file that also returns what it stores in eight bits."""
    return instrument(model, [one.tensor for one in watched(model)])


def first_apart(tensors: list[Watched], exact: Mapping[str, np.ndarray],
                found: Mapping[str, np.ndarray]) -> tuple[str, float] | None:
    """Return the first layer that an engine computes otherwise than its file says, and by how many steps."""
    for one in tensors:
        away = float(np.sqrt(np.mean(np.square(found[one.tensor].astype(np.float64) - exact[one.tensor])))) / one.step
        if away > APART:
            return one.layer, away
    return None
