"""Files of weights in the forms in which they are published: safetensors, torch.save's, and either in shards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.json_file import read_json

from . import Graph
from .checkpoint import numbers, read_state_dict, unread

TYPES = {"F32": "f4", "F16": "f2", "F64": "f8", "BF16": "bf16", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
         "U8": "u1", "BOOL": "u1"}
TIMES, BESIDES = 16, 64 << 20  # what a file may be: so often the parameters (moments, averages), and bytes besides
INDEX = ".index.json"  # Hugging Face's list of shards: model.safetensors.index.json, pytorch_model.bin.index.json


def read_file(path: Path, graph: Graph) -> dict[str, Any]:
    """Return what a file holds: arrays by name, dictionaries of them, and whatever else is beside them.

    ``graph`` is the network that they are for.

    Raises:
        UsageError: there is no such file, it is none of these forms, it is damaged, or far larger than the network.
    """
    if not path.is_file():
        raise UsageError(f"there is no weights file {str(path)!r}; give a .safetensors file, a PyTorch state_dict, or "
                         f"the *{INDEX} of several")
    if path.name.endswith(INDEX):
        return read_shards(path, graph)
    check_size(path, path.stat().st_size, graph)
    try:
        return read_safetensors(path) if path.suffix == ".safetensors" or is_safetensors(path) else \
            read_state_dict(path)
    except MemoryError as error:
        raise UsageError(f"weights file {str(path)!r} of {gibibytes(path.stat().st_size)} does not fit into the memory "
                         "that is free; end other programs, or save the network's own tensors alone") from error


def check_size(path: Path, size: int, graph: Graph) -> None:
    """Raise UsageError for what is far larger than all that a checkpoint of a network holds; nothing is read."""
    own = 4 * sum(math.prod(param.shape) for param in graph.params().values())
    if size > TIMES * own + BESIDES:
        raise UsageError(f"weights file {str(path)!r} has {gibibytes(size)}, and the parameters of {graph.name!r} take "
                         f"{gibibytes(own)}: more than {TIMES} times as much is not read. Give the file of this "
                         "network, or save its own tensors alone: torch.save(model.state_dict(), PATH)")


def gibibytes(size: int) -> str:
    """Return a size in words."""
    return f"{size / 2**30:,.2f} GiB"


def read_shards(index: Path, graph: Graph) -> dict[str, Any]:
    """Return what all the files hold that an index names; they lie beside it."""
    try:
        names = sorted({str(name) for name in read_json(index, what="an index of shards")["weight_map"].values()})
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{str(index)!r} is no index of shards: it must be JSON with a 'weight_map'") from error
    shards = [index.parent / name for name in names]
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file() or shard.name.endswith(INDEX):
            raise UsageError(f"{str(index)!r} names the shard {shard.name!r}, which is not beside it; fetch all "
                             f"{len(shards)} of them")
    check_size(index, sum(shard.stat().st_size for shard in shards), graph)
    return {name: value for shard in shards for name, value in read_file(shard, graph).items()}


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do, whatever its name: the header's length, then JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file; one of an element type that is not read is an ``Unread``."""
    from safetensors import SafetensorError, deserialize

    arrays: dict[str, Any] = {}
    try:
        for name, view in sorted(deserialize(path.read_bytes())):  # it gives another order each time
            kind = TYPES.get(view["dtype"])
            arrays[name] = numbers(view["data"], kind).reshape(view["shape"]) if kind \
                else unread(view["dtype"])()
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{str(path)!r} is not a whole safetensors file: {error}") from error
    return arrays
