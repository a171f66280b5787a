"""PyTorch's files, read without PyTorch and without trusting pickle.

The pickle inside such a file is run by an unpickler that knows six kinds of things: dictionaries, ordered
dictionaries, lists, text, numbers, and tensors as views of the file's own bytes. Whatever else it names, a class or a
function, becomes an ``Unread`` that does nothing, so the worst a hostile file achieves is an error message.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlcompare.core.errors import UsageError

from . import pickle_check

# Names under which PyTorch pickles a storage's element type -> ours; bf16 has no NumPy dtype.
STORAGES = {"FloatStorage": "f4", "HalfStorage": "f2", "DoubleStorage": "f8", "BFloat16Storage": "bf16",
            "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
            "BoolStorage": "u1"}
MOST_DEEP = 20  # dictionaries within one another that are looked at
ADVICE = "save it anew in PyTorch with torch.save(model.state_dict(), PATH), or as safetensors"
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2)  # what a file of PyTorch before 1.6 begins with

Storages = Callable[[str, str, int], Any]  # key, kind and count -> the flat array, or an Unread


class Unread:
    """What a file holds that is no tensor: it swallows every call and every state, and only knows its name."""

    what = "object"

    def __new__(cls, *_: Any, **__: Any) -> Unread:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Unread:
        return self

    def swallow(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = swallow


def unread(what: str) -> type[Unread]:
    """Return the class of what stands for things of a name."""
    return type("Unread", (Unread,), {"what": what})


def read_state_dict(path: Path) -> dict[str, Any]:
    """Return what ``torch.save`` wrote, in its zip format or the one before PyTorch 1.6, as dictionaries by name.

    Tensors are read-only views; element types: float32, float16, float64, bfloat16 (widened to float32), integers. What
    is neither tensor, dictionary, list, text nor number is an ``Unread``.

    Raises:
        UsageError: not such a file, damaged, or there is no tensor in it; names what is.
    """
    with path.open("rb") as file:
        legacy = file.read(len(LEGACY)) == LEGACY
    try:
        content = read_legacy(path) if legacy else read_zip(path)
    except zipfile.BadZipFile as error:
        raise UsageError(f"{str(path)!r} is neither safetensors nor a file of PyTorch's torch.save, or it is damaged "
                         f"or cut short: {error}; {ADVICE}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise UsageError(f"cannot read {str(path)!r} as a PyTorch state_dict: {error}; {ADVICE}") from error
    held = [(name, value) for _, one in dictionaries({"": content}) for name, value in one.items()]
    if not isinstance(content, dict) or not any(isinstance(value, np.ndarray) for _, value in held):
        raise UsageError(f"{str(path)!r} holds no tensors by name{instead(held)}; {ADVICE}")
    return content


def instead(held: list[tuple[Any, Any]]) -> str:
    """Return in words what a file holds that should hold tensors."""
    for name, value in held:
        if isinstance(value, Unread):
            return f"; it holds a {value.what}, and only tensors are read"
        if name and not isinstance(value, Mapping):
            return f"; it holds a {type(value).__name__} named {str(name)!r}, not a tensor"
    return ""


def dictionaries(tree: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Yield a dictionary and those in it, each once, outer ones first, with the names that lead to it."""
    waiting: deque[tuple[tuple[str, ...], Mapping[Any, Any]]] = deque([((), tree)])
    seen = {id(tree)}
    while waiting:
        path, here = waiting.popleft()
        yield path, here
        for name, value in here.items():
            if isinstance(value, Mapping) and id(value) not in seen and len(path) < MOST_DEEP:  # one may hold itself
                seen.add(id(value))
                waiting.append(((*path, str(name)), value))


def numbers(data: bytes, kind: str, *, order: str = "<") -> np.ndarray:
    """Return raw bytes as a flat array; ``kind`` is that of a NumPy type, or bf16 (widened to float32)."""
    if kind != "bf16":
        return np.frombuffer(data, dtype=order + kind)
    return (np.frombuffer(data, dtype=order + "u2").astype(np.uint32) << 16).view(np.float32)


def read_zip(path: Path) -> Any:
    """Return the object that a file of PyTorch 1.6 or later holds."""
    with zipfile.ZipFile(path) as archive:
        records = Records(archive, path.stat().st_size)
        data = records.read("data.pkl")
        pickle_check.check(io.BytesIO(data), len(data))
        return TensorUnpickler(io.BytesIO(data), records.array).load()


class Records:
    """The byte records beside the pickle; each is read once, however many tensors share it.

    All together have no more bytes than the file, ``size``: a bomb's overlap.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.left = size
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
        self.left -= info.file_size
        if self.left < 0:
            raise ValueError(f"record {name!r} is said to hold {info.file_size} bytes, more than the file has for it")
        return self.archive.read(info)

    def array(self, key: str, kind: str, count: int) -> np.ndarray:
        if (key, kind) not in self.arrays:
            self.arrays[key, kind] = numbers(self.read(f"data/{key}"), kind, order=self.order)
        if len(self.arrays[key, kind]) != count:
            raise ValueError(f"record {key!r} holds {len(self.arrays[key, kind])} elements of {count}")
        return self.arrays[key, kind]


def read_legacy(path: Path) -> Any:
    """Return the object that a file from before PyTorch 1.6 holds.

    Such a file is pickles one after another: the magic number, a version, the machine, the object, the keys of its
    storages; then each storage, its number of elements before it. So the object is unpickled twice: first to learn of
    which type each storage is, and, once they are read, with them in it.
    """
    with path.open("rb") as file:
        _, version, machine = (load_next(file, unread_storage) for _ in range(3))
        if version != 1001:
            raise ValueError(f"its format has version {version}, not 1001")
        kinds: dict[str, str] = {}
        begin = file.tell()
        load_next(file, lambda key, kind, count: unread_storage(kinds.setdefault(key, kind)))
        keys = load_next(file, unread_storage)
        order = "<" if machine["little_endian"] else ">"
        arrays = {key: numbers(read_storage(file, kinds[key], order), kinds[key], order=order) for key in keys}
        file.seek(begin)
        return TensorUnpickler(file, lambda key, kind, count: arrays[key]).load()


def load_next(file: IO[bytes], storages: Storages) -> Any:
    """Return the object of the pickle that begins here, once that is known to be harmless."""
    begin = file.tell()
    pickle_check.check(file, os.fstat(file.fileno()).st_size)
    file.seek(begin)
    return TensorUnpickler(file, storages).load()


def unread_storage(*_: Any) -> Unread:
    return Unread()


def read_storage(file: IO[bytes], kind: str, order: str) -> bytes:
    """Return the bytes of the storage that begins here, its length before it."""
    count = int.from_bytes(file.read(8), "little" if order == "<" else "big", signed=True)
    size = count * (2 if kind == "bf16" else np.dtype(kind).itemsize)
    if not 0 <= size <= os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError(f"it is cut short: a storage of {size} bytes is not whole")
    return file.read(size)


class Kind(str):
    """An element type as the pickle names it: inert, not callable."""


class TensorUnpickler(pickle.Unpickler):
    """Runs a pickle in which nothing can be called but what is listed here."""

    def __init__(self, file: IO[bytes], storages: Storages) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return Kind(STORAGES[name])
        return CONSTRUCTORS.get((module, name)) or unread(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple):
            raise ValueError("it refers to something that is no tensor")
        what, kind, key, _, count, *view = pid
        if isinstance(kind, type) and issubclass(kind, Unread):  # complex numbers and the like
            return kind()
        if what != "storage" or not isinstance(kind, Kind) or not isinstance(key, str):
            raise ValueError(f"it refers to {what!r}, and only tensors are read")
        array = self.storages(key, kind, count)
        if isinstance(array, Unread) or view in ([], [None]):
            return array
        _, offset, size = view[0]
        return array[offset:offset + size]


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    """Return the view that a pickled tensor is; refuse one that reaches outside its storage."""
    if isinstance(storage, Unread):
        return storage
    if not isinstance(storage, np.ndarray) or storage.ndim != 1 or not all(map(is_numbers, ((offset,), size, stride))) \
            or len(size) != len(stride):
        raise ValueError("a tensor is malformed")
    if min([offset, *size, *stride], default=0) < 0:
        raise ValueError("a tensor has a negative size, stride or offset")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor of size {size} reaches outside its record of {len(storage)} elements")
    steps = [step * storage.itemsize for step in stride]
    start = storage[min(offset, len(storage)):]
    return np.lib.stride_tricks.as_strided(start, tuple(size), steps, writeable=False)


def is_numbers(values: Any) -> bool:
    """Return whether these are a few whole numbers; an array may have more items than can ever be looked at."""
    return isinstance(values, (tuple, list)) and all(type(value) is int for value in values)


def ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    """Return an ordered dictionary of pairs, which a pickle gives in a list if not one by one afterwards."""
    if not isinstance(items, (tuple, list)):
        raise ValueError("an ordered dictionary is malformed")
    return OrderedDict(items)


def rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


CONSTRUCTORS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): ordered_dict,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter,
}
