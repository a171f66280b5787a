"""PyTorch's zip-format state_dict files, read without PyTorch and without trusting pickle.

The pickle inside such a file is run by an unpickler that knows six kinds of things: dictionaries, ordered
dictionaries, lists, text, numbers, and tensors as views of the file's own byte records. It can look up no other class
or function, so the worst a hostile file achieves is an error message.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.errors import UsageError

# Names under which PyTorch pickles a storage's element type -> ours; bf16 has no NumPy dtype.
STORAGES = {"FloatStorage": "f4", "HalfStorage": "f2", "DoubleStorage": "f8", "BFloat16Storage": "bf16",
            "LongStorage": "i8"}
ADVICE = "save it anew in PyTorch with torch.save(model.state_dict(), PATH), or as safetensors"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file that ``torch.save`` (PyTorch 1.6 or later) wrote, by name, as read-only views.

    ``{"state_dict": {...}, ...}`` is unwrapped. Element types: float32, float16, float64, bfloat16 (widened to
    float32), int64.

    Raises:
        UsageError: not such a file, damaged, or it holds something that is not a tensor; names what.
    """
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{str(path)!r} is neither safetensors nor PyTorch's zip format (it may be cut short, or "
                         f"older than PyTorch 1.6); {ADVICE}")
    try:
        with zipfile.ZipFile(path) as archive:
            content = _TensorUnpickler(_Records(archive)).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise UsageError(f"cannot read {str(path)!r} as a PyTorch state_dict: {error}; {ADVICE}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{str(path)!r} holds no tensors by name; {ADVICE}")
    for name, value in content.items():
        if not isinstance(value, np.ndarray):
            raise UsageError(f"{str(path)!r} holds a {type(value).__name__} named {name!r}, not a tensor; {ADVICE}")
    return {str(name): value for name, value in content.items()}


def numbers(data: bytes, kind: str, *, order: str = "<") -> np.ndarray:
    """Return raw bytes as a flat array; ``kind`` is f4, f2, f8, i8 or bf16 (widened to float32)."""
    if kind != "bf16":
        return np.frombuffer(data, dtype=order + kind)
    return (np.frombuffer(data, dtype=order + "u2").astype(np.uint32) << 16).view(np.float32)


class _Records:
    """The byte records beside the pickle; each is read once, however many tensors share it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("there is no single data.pkl in it")
        self.archive, self.root = archive, pickles[0].removesuffix("data.pkl")
        big = f"{self.root}byteorder" in archive.namelist() and self.read("byteorder") == b"big"
        self.order = ">" if big else "<"
        self.arrays: dict[tuple[str, str], np.ndarray] = {}

    def read(self, name: str) -> bytes:
        info = self.archive.getinfo(self.root + name)
        if info.compress_type != zipfile.ZIP_STORED:  # PyTorch never compresses; a bomb does
            raise ValueError(f"record {name!r} is compressed")
        return self.archive.read(info)

    def array(self, key: str, kind: str) -> np.ndarray:
        if (key, kind) not in self.arrays:
            self.arrays[key, kind] = numbers(self.read(f"data/{key}"), kind, order=self.order)
        return self.arrays[key, kind]


class _Kind(str):
    """An element type as the pickle names it: inert, not callable."""


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, records: _Records) -> None:
        super().__init__(io.BytesIO(records.read("data.pkl")))
        self.records = records

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return _Kind(STORAGES[name])
        if (module, name) not in CONSTRUCTORS:
            raise ValueError(f"it holds a {module}.{name}, and only tensors are read")
        return CONSTRUCTORS[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        what, kind, key, _, count = pid
        if what != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str):
            raise ValueError(f"it refers to {what!r}, and only tensors are read")
        array = self.records.array(key, kind)
        if len(array) != count:
            raise ValueError(f"record {key!r} holds {len(array)} elements of {count}")
        return array


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """Return the view that a pickled tensor is; refuse one that reaches outside its storage."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(size) != len(stride):
        raise ValueError("a tensor is malformed")
    if min([offset, *size, *stride], default=0) < 0:
        raise ValueError("a tensor has a negative size, stride or offset")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor of size {size} reaches outside its record of {len(storage)} elements")
    steps = [step * storage.itemsize for step in stride]
    start = storage[min(offset, len(storage)):]
    return np.lib.stride_tricks.as_strided(start, tuple(size), steps, writeable=False)


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


CONSTRUCTORS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
