"""The neutral graph as an ONNX file: evaluation mode, batch norm folded, and names by which all later steps speak.

A node and the tensor it makes are named like the neutral node, an initialiser like the parameter (``conv1.weight``).
Where one neutral op becomes several ONNX nodes the last bears the name, the others ``name/part``; constants too are
``name/part``. A tensor that is an output of the network is named like the output instead (``logits``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlcompare.core.errors import UsageError
from dlcompare.core.files import whole
from dlcompare.core.graph import Graph

from .ops import TABLE
from .read import data_files, parse
from .writer import Writer

if TYPE_CHECKING:
    import onnx

# The newest opset and file format that TensorRT 8.5's parser reads; all ops used here are in it, and newer engines
# read it too. LayerNormalization is in opset 17 but not in TensorRT 8.5, hence written out below.
OPSET = 17
IR_VERSION = 8
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
        writer.tensors.update(node.named(TABLE[node.op](writer, node)))
    outputs = writer.name_outputs()
    made = helper.make_graph(writer.nodes, graph.name, writer.declared_inputs(), outputs, writer.initialisers())
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                             producer_name="dlcompare")


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
