"""Files of weights in the forms in which they are published: safetensors, torch.save's, and either in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError

from .checkpoint import numbers, read_state_dict, unread

TYPES = {"F32": "f4", "F16": "f2", "F64": "f8", "BF16": "bf16", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
         "U8": "u1", "BOOL": "u1"}
INDEX = ".index.json"  # Hugging Face's list of shards: model.safetensors.index.json, pytorch_model.bin.index.json


def read_file(path: Path) -> dict[str, Any]:
    """Return what a file holds: arrays by name, dictionaries of them, and whatever else is beside them.

    Raises:
        UsageError: there is no such file, it is none of these forms, or it is damaged.
    """
    if not path.is_file():
        raise UsageError(f"there is no weights file {str(path)!r}; give a .safetensors file, a PyTorch state_dict, or "
                         f"the *{INDEX} of several")
    if path.name.endswith(INDEX):
        return read_shards(path)
    if path.suffix == ".safetensors" or is_safetensors(path):
        return read_safetensors(path)
    return read_state_dict(path)


def read_shards(index: Path) -> dict[str, Any]:
    """Return what all the files hold that an index names; they lie beside it."""
    try:
        names = sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{str(index)!r} is no index of shards: it must be JSON with a 'weight_map'") from error
    shards = [index.parent / name for name in names]
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file() or shard == index:
            raise UsageError(f"{str(index)!r} names the shard {shard.name!r}, which is not beside it; fetch all "
                             f"{len(shards)} of them")
    return {name: value for shard in shards for name, value in read_file(shard).items()}


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
