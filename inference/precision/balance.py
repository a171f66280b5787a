"""Balance what dense layers read with their weights: a channel of an activation that is far larger than the others is
made smaller, the weights that it meets larger, the function unchanged.

G. Xiao, J. Lin, M. Seznec, H. Wu, J. Demouth, S. Han: "SmoothQuant: Accurate and Efficient Post-Training Quantization
for Large Language Models", ICML 2023, arXiv:2211.10438, equation 4. A transformer has such channels, and its additions
read what its layers read, so the factor is a multiplication of its own, not a part of the normalisation before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlcompare.inference.onnx.wiring import Wiring

from .histograms import Artifact
from .placement import is_layer

if TYPE_CHECKING:
    import onnx

SHARE = 0.8  # of the difference that goes to the weights; of 0.3 to 1.0 best for a trained MiniLM: docs/inference.md


def balance(model: onnx.ModelProto, artifact: Artifact) -> onnx.ModelProto | None:
    """Return the model with ``TENSOR/balanced`` in the place of each tensor that layers over the last axis (MatMul)
    read; None where less than half of its layers are such, for one head is not worth another calibration."""
    if not readers(Wiring.of(model), artifact):
        return None
    made = type(model)()
    made.CopyFrom(model)
    wiring = Wiring.of(made)
    for tensor, nodes in readers(wiring, artifact).items():
        move(made, wiring, tensor, nodes, factors(wiring, nodes, artifact.tensors[tensor].channels))
    return made


def readers(wiring: Wiring, artifact: Artifact) -> dict[str, list[onnx.NodeProto]]:
    """Return by tensor the layers to balance it with; none where they are too few."""
    layers = [node for node in wiring.nodes if is_layer(wiring, node)]
    groups: dict[str, list[onnx.NodeProto]] = {}
    for node in layers:
        if node.op_type == "MatMul" and len(wiring.readers[node.input[1]]) == 1:
            groups.setdefault(node.input[0], []).append(node)
    found = {tensor: nodes for tensor, nodes in groups.items() if fits(wiring, nodes, artifact, tensor)}
    return found if 2 * sum(map(len, found.values())) > len(layers) else {}


def fits(wiring: Wiring, nodes: list[onnx.NodeProto], artifact: Artifact, tensor: str) -> bool:
    """Return whether calibration knows the channels that the layers' weights meet."""
    seen = artifact.tensors.get(tensor)
    return seen is not None and all(wiring.constants[node.input[1]].dims[0] == len(seen.channels) for node in nodes)


def factors(wiring: Wiring, nodes: list[onnx.NodeProto], channels: np.ndarray) -> np.ndarray:
    """Return by how much each channel is to shrink."""
    largest = channels.astype(np.float64)
    weights = np.max([np.abs(wiring.value(node.input[1])).max(axis=1) for node in nodes], axis=0).astype(np.float64)
    alive = (largest > 0) & (weights > 0)
    return np.where(alive, np.where(alive, largest, 1) ** SHARE / np.where(alive, weights, 1) ** (1 - SHARE), 1.0)


def move(model: onnx.ModelProto, wiring: Wiring, tensor: str, nodes: list[onnx.NodeProto], factor: np.ndarray) -> None:
    """Divide a tensor by factors, before the first of the layers that read it, and multiply their weights."""
    from onnx import helper, numpy_helper

    balanced, by = f"{tensor}/balanced", f"{tensor}/balance"
    model.graph.initializer.append(numpy_helper.from_array((1 / factor).astype(np.float32), by))
    first = next(index for index, node in enumerate(model.graph.node) if node.output[0] == nodes[0].output[0])
    for node in nodes:
        weight = (wiring.value(node.input[1]) * factor[:, None]).astype(np.float32)
        wiring.constants[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))
        node.input[0] = balanced
    model.graph.node.insert(first, helper.make_node("Mul", [tensor, by], [balanced], name=balanced))
