"""Reading an ONNX file that somebody else made: nothing in it is believed before it has been looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError
from dlcompare.core.machine.memory import free_memory

if TYPE_CHECKING:
    import onnx

OPEN = "N"  # what an open batch axis is called where the file gives no name
OLDEST_OPSET = 13  # the first in which a weight may be quantised by channel, and a tensor be bfloat16
MOST_BYTES = 2**31  # of the file itself, as of any message of protobuf
CHECKED_AT_ONCE = 2**30  # bytes; the checker is given larger models as files, for a message ends at 2 GiB
DOMAINS = ("", "ai.onnx")
QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
             "ConvInteger", "MatMulInteger"}


def read(path: str | Path) -> onnx.ModelProto:
    """Return the model that the file holds, tensors from files beside it included.

    Raises:
        UsageError: there is no such file; it is no ONNX file, or part of one; it has no nodes; an opset or an operator
            is not of the ONNX standard we read; it computes in integers already; two nodes bear one name; a tensor is
            kept outside the file's folder or not there in full; or the ONNX checker has something against it.
    """
    path = Path(path)
    model = parse(path)
    check_standard(model, path)
    check_names(model, path)
    data_files(model, path)
    check(model, path)
    return model


def parse(path: Path) -> onnx.ModelProto:
    """Return what the file itself says, without the data that it keeps elsewhere."""
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}; give the path of an ONNX file")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise UsageError(f"{str(path)!r} has {size / 2**30:,.2f} GiB, and an ONNX file has at most 2; save the network "
                         "with its tensors beside it: onnx.save(model, PATH, save_as_external_data=True)")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise UsageError(f"{str(path)!r} is not an ONNX file, or not all of one (of {path.stat().st_size} bytes); "
                         "fetch or export it again") from error
    if not model.graph.node:
        raise UsageError(f"{str(path)!r} has no nodes: it is empty or was cut short; fetch or export it again")
    return model


def check_standard(model: onnx.ModelProto, path: Path) -> None:
    """Raise UsageError if an operator or the opset is not of the part of the standard that is read here."""
    from onnx import defs

    strange = [n for n in nodes(model) if n.domain not in DOMAINS]
    if strange:
        named = first_few([f"{n.domain}.{n.op_type} ({n.name!r})" for n in strange])
        raise UsageError(f"{str(path)!r} uses operators that are not of the ONNX standard: {named}. Export the network "
                         "without engine-specific optimisations, and with its functions inlined (onnx.inliner)")
    newest = defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in DOMAINS and not OLDEST_OPSET <= opset.version <= newest:
            raise UsageError(f"{str(path)!r} is of opset {opset.version}; {OLDEST_OPSET} to {newest} can be read. "
                             "Export it again, or convert it with onnx.version_converter.convert_version")


def check_names(model: onnx.ModelProto, path: Path) -> None:
    """Raise UsageError if two nodes of a graph bear one name, which onnxruntime refuses, or the file is quantised."""
    for graph in graphs(model.graph):
        counted = Counter(node.name for node in graph.node if node.name)
        if twice := [name for name, count in counted.items() if count > 1]:
            raise UsageError(f"{str(path)!r} has several nodes of one name: {first_few([repr(n) for n in twice])}; "
                             "engines refuse that. Give each a name of its own, or none (node.name = '')")
    quantised = [f"{node.op_type} ({node.name!r})" for node in nodes(model) if node.op_type in QUANTISED]
    if quantised:
        raise UsageError(f"{str(path)!r} is quantised already: {first_few(quantised)}. INT8 is made here from FP32, so "
                         "that both can be compared; give the FP32 file that it was made from")


def check(model: onnx.ModelProto, path: Path) -> None:
    """Load what is kept beside; raise UsageError with what ONNX's own reader, checker or inference has against it."""
    import onnx

    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.resolve().parent))
        held = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        onnx.checker.check_model(model if held < CHECKED_AT_ONCE else str(path.resolve()), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{str(path)!r} is not a valid ONNX model: {said[:300]}. Export it again") from error


def data_files(model: onnx.ModelProto, path: str | Path) -> list[Path]:
    """Return the files beside ``path`` that the model keeps tensors in, each once.

    Raises:
        UsageError: one is absolute, outside the folder, missing, or holds less than the model says; all together are
            more than fits into memory.
    """
    folder, held = Path(path).resolve().parent, 0
    found: dict[Path, None] = {}
    for tensor in tensors(model.graph):
        if tensor.data_location == tensor.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            file = inside(folder, place.get("location", ""), tensor.name)
            held += check_extent(file, place, tensor)
            found[file] = None
    if held > (free := free_memory()):
        raise UsageError(f"{str(path)!r} keeps {held / 2**30:,.2f} GiB of tensors beside it, and {free / 2**30:,.2f} "
                         "are free here; end other programs, or give a smaller network")
    return list(found)


def inside(folder: Path, location: str, tensor: str) -> Path:
    """Return the file that holds a tensor; UsageError unless it is a file in the model's folder, links followed."""
    keeps = f"tensor {tensor!r} is kept in {location!r}"
    if not location or "\0" in location or Path(location).is_absolute() or ".." in Path(location).parts:
        raise UsageError(f"{keeps}; allowed is a path inside the folder of the ONNX file, {str(folder)!r}, without "
                         "'..'. Save the model with its data beside it")
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise UsageError(f"{keeps}, a link out of the folder of the ONNX file, {str(folder)!r}. Copy the file there")
    if not file.is_file():
        raise UsageError(f"{keeps}, but there is no such file in {str(folder)!r}. Copy it there")
    return file


def check_extent(file: Path, place: dict[str, str], tensor: onnx.TensorProto) -> int:
    """Return how many bytes of a file a tensor is; UsageError unless they are there, and as many as it takes."""
    size = file.stat().st_size
    offset, length = place.get("offset", "0"), place.get("length")
    wanted = size_of(tensor)
    if not offset.isdecimal() or not (length is None or length.isdecimal()):
        raise UsageError(f"tensor {tensor.name!r} is said to be {length} bytes at {offset} of {file.name!r}; both must "
                         "be whole numbers. Export the model again")
    stretch = max(size - int(offset), 0) if length is None else int(length)
    if int(offset) + stretch > size:
        raise UsageError(f"tensor {tensor.name!r} is said to be {stretch} bytes at {offset} of {file.name!r}, which "
                         f"has only {size}: it was cut short. Fetch or export it again")
    if wanted is not None and wanted != stretch:
        raise UsageError(f"tensor {tensor.name!r} {tuple(tensor.dims)} takes {wanted} bytes, but {stretch} of "
                         f"{file.name!r} are said to hold it. Export the model again")
    return stretch


def size_of(tensor: onnx.TensorProto) -> int | None:
    """Return how many bytes the tensor takes; None for types smaller than a byte, and those that have no fixed size."""
    from onnx import TensorProto, helper

    name = TensorProto.DataType.Name(tensor.data_type)
    if name in ("UNDEFINED", "STRING") or any(part in name for part in ("INT4", "INT2", "FLOAT4")):
        return None
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor that a graph holds: initialisers, attributes, and those of the graphs within it."""
    for part in graphs(graph):
        yield from part.initializer
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (a for node in part.node for a in node.attribute):
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and all graphs within it: branches, bodies of loops."""
    yield graph
    for attribute in (a for node in graph.node for a in node.attribute):
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from graphs(inner)


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, those of graphs within the graph included."""
    for graph in graphs(model.graph):
        yield from graph.node


def first_few(said: Sequence[str], most: int = 5) -> str:
    return ", ".join(said[:most]) + (f" and {len(said) - most} more" if len(said) > most else "")
