"""Who makes and who reads each tensor of an ONNX network; what everything that changes one asks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx

ACTIVATIONS = ("Relu", "Clip")  # what engines fuse into the layer before


@dataclass(frozen=True)
class Wiring:
    """``producers`` and ``readers`` by tensor; ``constants`` are initialisers and the values of Constant nodes."""

    nodes: tuple[onnx.NodeProto, ...]
    producers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, tuple[onnx.NodeProto, ...]]
    constants: Mapping[str, onnx.TensorProto]
    outputs: frozenset[str]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Wiring:
        """Return the wiring of a model, whose nodes stand in an order in which they can run, as ONNX demands."""
        graph = model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                constants[node.output[0]] = node.attribute[0].t
            for name in dict.fromkeys(filter(None, node.input)):
                readers.setdefault(name, []).append(node)
        return cls(tuple(graph.node), {name: node for node in graph.node for name in node.output},
                   {name: tuple(found) for name, found in readers.items()}, constants,
                   frozenset(value.name for value in graph.output))

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """Return the one node that reads a tensor; None if several do or it is an output of the network."""
        found = self.readers.get(tensor, ())
        return found[0] if len(found) == 1 and tensor not in self.outputs else None

    def after_activation(self, node: onnx.NodeProto) -> str:
        """Return the tensor that a layer makes together with the activation that engines fuse into it."""
        reader = self.only_reader(node.output[0])
        return reader.output[0] if reader is not None and reader.op_type in ACTIVATIONS else node.output[0]

    def value(self, tensor: str) -> np.ndarray:
        """Return what a constant holds."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[tensor])

    def rank(self, tensor: str) -> int | None:
        """Return how many axes a constant has; None if it is not one."""
        return len(self.constants[tensor].dims) if tensor in self.constants else None

    def moving(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of a node that depend on what the network is given."""
        return [name for name in node.input if name and name not in self.constants]


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    from onnx import helper

    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def name_of(node: onnx.NodeProto) -> str:
    """Return what people may find a node by: its name, or that of what it makes."""
    return node.name or node.output[0]


def output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a layer's weight along which its output channels lie."""
    if node.op_type == "MatMul":
        return 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else 0
