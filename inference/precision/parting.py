"""Where an engine's INT8 arithmetic parts from the file's: tensor by tensor, in steps of the file's own scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.inference.onnx.wiring import ACTIVATIONS, Wiring, name_of

from .histograms import instrument
from .placement import MOVING

if TYPE_CHECKING:
    import onnx

APART = 1.0  # steps, root mean square: kernels that round otherwise are a step off here and there


@dataclass(frozen=True)
class Watched:
    """An activation that a file stores in eight bits: the tensor as it reads it back, the one in FP32 that it is made
    of, the step, the ends of what can be told apart, and the layer."""

    tensor: str
    source: str
    step: float
    low: float
    high: float
    layer: str


def watched(model: onnx.ModelProto) -> list[Watched]:
    """Return what an INT8 file stores in eight bits of what its layers make, in the order in which they make it."""
    wiring, found = Wiring.of(model), []
    for node in wiring.nodes:
        before = wiring.producers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        maker = wiring.producers.get(before.input[0]) if before is not None else None
        if before is not None and maker is not None:
            while maker.op_type in (*ACTIVATIONS, *MOVING) and maker.input[0] in wiring.producers:
                maker = wiring.producers[maker.input[0]]
            if maker.op_type == "DequantizeLinear":
                continue  # what was watched already, moved
            step, zero = float(wiring.value(node.input[1])), wiring.value(node.input[2])
            kind = np.iinfo(zero.dtype)
            low, high = (step * (end - int(zero)) for end in (kind.min, kind.max))
            source = before.input[0].removesuffix("/float")
            found.append(Watched(node.output[0], source, step, low, high, name_of(maker)))
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


def layer_rows(tensors: list[Watched], fp32: Mapping[str, np.ndarray],
               found: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return by layer how its eight bits differ from FP32, all layers before it in INT8 as well.

    ``sqnr_db`` is the signal to noise, ``largest`` the largest error in steps, ``outside`` the share of FP32's values
    that lie beyond what the eight bits reach. Outputs of the network come last, without steps.
    """
    rows = []
    for one in tensors:
        wanted, away = fp32[one.source], np.abs(found[one.tensor].astype(np.float64) - fp32[one.source])
        beyond = (wanted < one.low - one.step / 2) | (wanted > one.high + one.step / 2)
        rows.append({"layer": one.layer, "tensor": one.source, "sqnr_db": sqnr(wanted, found[one.tensor]),
                     "largest": float(away.max()) / one.step, "outside": float(beyond.mean())})
    outputs = [name for name in found if name in fp32 and name not in {one.tensor for one in tensors}]
    return rows + [{"layer": None, "tensor": name, "sqnr_db": sqnr(fp32[name], found[name]), "largest": None,
                    "outside": None} for name in outputs]


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float | None:
    """Return the signal-to-quantisation-noise ratio in decibels; None if nothing differs, or there is no signal."""
    signal = float(np.sum(np.square(wanted, dtype=np.float64)))
    noise = float(np.sum(np.square(wanted.astype(np.float64) - found)))
    return 10 * math.log10(signal / noise) if signal and noise else None
