"""The neutral graph as an ONNX file: evaluation mode, batch norm folded, and names by which all later steps speak.

A node and the tensor it makes are named like the neutral node, an initialiser like the parameter (``conv1.weight``).
Where one neutral op becomes several ONNX nodes the last bears the name, the others ``name/part``; constants too are
``name/part``. A tensor that is an output of the network is named like the output instead (``logits``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.errors import UsageError
from dlcompare.core.files import whole
from dlcompare.core.graph import Graph, Node, Shape

from .ops import TABLE
from .read import data_files, parse

if TYPE_CHECKING:
    import onnx

# The newest opset and file format that TensorRT 8.5's parser reads; all ops used here are in it, and newer engines
# read it too. LayerNormalization is in opset 17 but not in TensorRT 8.5, hence written out below.
OPSET = 17
IR_VERSION = 8
BATCH = "N"
SMALL = 1024  # bytes: such tensors always stay in the file, for shapes are inferred from their values
LIMIT = 2**31 - 2**20  # bytes: a file of one message ends at 2 GiB; the rest is for names and nodes


def export(graph: Graph, params: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return the network in evaluation mode, in float32, for batches of any size.

    Its outputs are the graph's but for ``loss``; what only the loss reads, the label among it, is left out, and so is
    dropout. Batch norm is folded into the convolution before it (in float64) where nothing else reads that. A dense
    layer's weight is (features, inputs), but (inputs, features) under MatMul: where its input has several axes.

    Raises:
        UsageError: a parameter is missing or misshapen, or an output cannot be exported.
    """
    from onnx import helper

    writer = Writer.of(graph, params)
    for node in writer.needed:
        if node.op not in TABLE:
            raise UsageError(f"{graph.name!r} cannot be exported: node {node.name!r} is a {node.op}, which ONNX export "
                             f"does not offer outside the loss; it offers: {', '.join(sorted(TABLE))}")
        writer.tensors[node.name] = TABLE[node.op](writer, node)
    outputs = writer.name_outputs()
    made = helper.make_graph(writer.nodes, graph.name, writer.declared_inputs(), outputs, writer.initialisers())
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                             producer_name="dlcompare")


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
        shapes = {k: v.shape for k, v in graph.inputs.items()} | {n.name: n.shape for n in needed}
        return cls(graph, params, needed, shapes, foldable(needed, set(kept.values())), {k: k for k in graph.inputs})

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
        """Make an initialiser of a parameter as it is and return its name."""
        return self.constant(node.param_name(local), self.param(node, local))

    def constant(self, name: str, values: Any, dtype: type = np.float32) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def add(self, name: str, kind: str, *inputs: str, **attrs: Any) -> str:
        """Add an ONNX node, return the tensor it makes; both are named ``name``."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attrs))
        return name

    def declared_inputs(self) -> list[onnx.ValueInfoProto]:
        """Return the inputs that are read, in the model's order."""
        read = {name for node in self.nodes for name in node.input}
        return [declared(k, v.dtype, v.shape) for k, v in self.graph.inputs.items() if k in read]

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
        return [declared(k, "float32", self.shapes[v]) for k, v in outputs_of(self.graph).items()]

    def initialisers(self) -> list[onnx.TensorProto]:
        from onnx import numpy_helper

        return [numpy_helper.from_array(values, name) for name, values in self.constants.items()]


def outputs_of(graph: Graph) -> dict[str, str]:
    """Return the outputs that inference has: all but the loss."""
    return {k: v for k, v in graph.outputs.items() if k != "loss"}


def declared(name: str, dtype: str, shape: Shape) -> onnx.ValueInfoProto:
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


def save(model: onnx.ModelProto, path: str | Path, *, limit: int = LIMIT) -> None:
    """Write the model whole or not at all; beyond ``limit`` bytes its large tensors go to one file beside it.

    That file is named by its content, so that the model which stood here before stays whole until it is replaced.
    """
    path = Path(path)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > limit:
        model = moved_out(model, path)
    with whole(path) as file, file.open("wb") as part:
        part.write(model.SerializeToString(deterministic=True))


def moved_out(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Write what the large initialisers hold to a file beside ``path``; return a model that points there."""
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        digest.update(tensor.raw_data if len(tensor.raw_data) > SMALL else b"")
    place = f"{path.name}.{digest.hexdigest()[:16]}.data"
    light, offset = without_initialisers(model), 0
    with whole(path.with_name(place)) as file, file.open("wb") as part:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) <= SMALL:
                light.graph.initializer.append(tensor)
                continue
            moved = light.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            moved.data_location = tensor.EXTERNAL
            for key, value in {"location": place, "offset": offset, "length": len(tensor.raw_data)}.items():
                moved.external_data.add(key=key, value=str(value))
            offset += part.write(tensor.raw_data)
    return light


def without_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of all but the initialisers, which may be too many bytes to copy."""
    light = type(model)()
    for source, target in ((model, light), (model.graph, light.graph)):
        for field_, value in source.ListFields():
            if field_.name in ("graph", "initializer"):
                continue
            if field_.is_repeated:
                getattr(target, field_.name).extend(value)
            elif field_.message_type:
                getattr(target, field_.name).CopyFrom(value)
            else:
                setattr(target, field_.name, value)
    return light


def content_sha256(path: str | Path) -> str:
    """Return a hash of all that an ONNX file says, the tensors that it keeps in files beside it included."""
    path = Path(path)
    digest = hashlib.sha256()
    for part in (path, *data_files(parse(path), path)):
        with part.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
