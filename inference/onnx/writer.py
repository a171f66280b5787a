"""Collects the nodes and constants of an ONNX file while the rules of ``ops`` write one neutral node after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Node, Shape

if TYPE_CHECKING:
    import onnx

BATCH = "N"


@dataclass
class Writer:
    """Collects ONNX nodes and constants; ``tensors`` maps a neutral value to the ONNX tensor that holds it.

    ``folded`` maps a convolution to the batch norm that is folded into it.
    """

    graph: Graph
    params: Mapping[str, np.ndarray]
    needed: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    folded: Mapping[str, Node]
    tensors: dict[str, str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, params: Mapping[str, np.ndarray]) -> Writer:
        kept = outputs_of(graph)
        if not kept:
            raise UsageError(f"{graph.name!r} has no output but the loss, so there is nothing to export; name another")
        needed = graph.needed(*kept)
        return cls(graph, params, needed, graph.shapes(), foldable(needed, set(kept.values())),
                   {k: k for k in graph.inputs})

    def x(self, node: Node, index: int = 0) -> str:
        """Return the tensor that the node reads as its input of that index."""
        return self.tensors[node.inputs[index]]

    def shape(self, node: Node) -> Shape:
        """Return the shape of the node's first input, without the batch axis."""
        return self.shapes[node.inputs[0]]

    def param(self, node: Node, local: str) -> np.ndarray:
        """Return a parameter of the node; UsageError if it is missing or misshapen."""
        name, wanted = node.param_name(local), node.params[local].shape
        if name not in self.params:
            raise UsageError(f"parameter {name!r} of {self.graph.name!r} is missing; give all of the network's weights")
        if np.shape(self.params[name]) != wanted:
            raise UsageError(f"parameter {name!r} of {self.graph.name!r} has shape {np.shape(self.params[name])}, not "
                             f"{wanted}; give weights of this very network")
        return np.asarray(self.params[name])

    def weight(self, node: Node, local: str) -> str:
        """Make an initialiser of a parameter as it is and return its name.

        Layers that share one have a copy each: what quantises a layer, or lays out its weight anew, sees it alone.
        """
        return self.constant(f"{node.name}.{local}", self.param(node, local))

    def constant(self, name: str, values: Any, dtype: type = np.float32) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def add(self, name: str, kind: str, *inputs: str, **attrs: Any) -> str:
        """Add an ONNX node, return the tensor it makes; both are named ``name``."""
        return self.add_several(name, kind, *inputs, outputs=[name], **attrs)[0]

    def add_several(self, name: str, kind: str, *inputs: str, outputs: list[str], **attrs: Any) -> list[str]:
        """Add an ONNX node that makes several tensors and return their names."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attrs))
        return outputs

    def declared_inputs(self) -> list[onnx.ValueInfoProto]:
        """Return the inputs that are read, in the model's order."""
        read = {name for node in self.nodes for name in node.input}
        return [declare(k, v.dtype, v.shape) for k, v in self.graph.inputs.items() if k in read]

    def name_outputs(self) -> list[onnx.ValueInfoProto]:
        """Give the tensors of the network's outputs the outputs' names; where one tensor is several, copy it."""
        made, renamed = {node.name for node in self.nodes}, dict[str, str]()
        for output, value in outputs_of(self.graph).items():
            tensor = self.tensors[value]
            if output != tensor and output in made | set(self.graph.inputs):
                raise UsageError(f"output {output!r} of {self.graph.name!r} is the tensor {tensor!r}, but another "
                                 f"is named {output!r}; give the output or the layer another name")
            if tensor in made and tensor not in renamed:
                renamed[tensor] = output
            elif tensor != output:
                self.add(output, "Identity", tensor)
        for node in self.nodes:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        return [declare(k, "float32", self.shapes[v]) for k, v in outputs_of(self.graph).items()]

    def initialisers(self) -> list[onnx.TensorProto]:
        from onnx import numpy_helper

        return [numpy_helper.from_array(values, name) for name, values in self.constants.items()]


def outputs_of(graph: Graph) -> dict[str, str]:
    """Return the outputs that inference has: all but the loss."""
    return {k: v for k, v in graph.outputs.items() if k != "loss"}


def declare(name: str, dtype: str, shape: Shape) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, {"float32": "FLOAT"}.get(dtype, dtype.upper())),
                                         (BATCH, *shape))


def foldable(nodes: tuple[Node, ...], outputs: set[str]) -> dict[str, Node]:
    """Return, by convolution, the batch norm that alone reads it."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return {n.name: readers[n.name][0] for n in nodes if n.op == "conv" and n.name not in outputs
            and [reader.op for reader in readers.get(n.name, ())] == ["batch_norm"]}
