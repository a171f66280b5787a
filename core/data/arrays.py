"""A user's own inputs, by name: one .npz file, or a folder of .npy files; the first axis is the samples.

There is one set of samples, for whatever purpose. An array ``label`` holds classes; nothing needs one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

from . import Dataset, DatasetKind, Looked, deaf

NAME = "arrays"
LABEL = "label"  # the name of the array that holds classes
STATE = "state"  # the role of an input that has no axis of samples, and is given as it is


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Raise UsageError unless there is an array of the right shape for each input, all of as many samples."""
    Arrays(read(argument), inputs)


def classes(argument: str) -> int | None:
    """Return one more than the greatest label; None where there are no labels of classes."""
    label = read(argument, only=LABEL).get(LABEL)
    if label is None or label.ndim != 1 or not label.size or label.dtype.kind not in "iu":
        return None
    if label.min() < 0:
        raise UsageError(f"the array {LABEL!r} holds {label.min()}; classes are counted from 0")
    return int(label.max()) + 1


def size(argument: str, *, without: Collection[str] = ()) -> int:
    """Return how many samples there are."""
    arrays = read(argument, only=LABEL) or read(argument)
    return max((len(value) for value in arrays.values() if value.ndim), default=0)


def scan(argument: str, inputs: Mapping[str, Input], *, seconds: float, looked: Looked = deaf) -> dict[str, str]:
    """Return by number which samples hold what the inputs do not allow, as far as so many seconds go."""
    from .checked import look

    return look(DatasetKind(NAME, "", open_dataset, check), argument, inputs, seconds=seconds, looked=looked)


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> Arrays:
    """Return the arrays; there is neither chance nor a split, and nothing to decode."""
    return Arrays(read(argument), inputs)


class Arrays(Dataset):
    """Samples of arrays; types are changed to what the inputs declare where no value changes."""

    one_split = True  # the same samples serve every purpose

    def __init__(self, arrays: Mapping[str, np.ndarray], inputs: Mapping[str, Input]) -> None:
        self._arrays = {name: fitted(name, arrays, spec) for name, spec in inputs.items()}
        self._states = {name for name, spec in inputs.items() if spec.role == STATE}
        sizes = {name: len(value) for name, value in self._arrays.items() if name not in self._states}
        if len(set(sizes.values())) != 1 or not min(sizes.values()):
            raise UsageError("arrays must be of one number of samples, at least 1, but there are: "
                             f"{', '.join(f'{name} {size}' for name, size in sizes.items())}")
        self.size = next(iter(sizes.values()))

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return {name: value if name in self._states else value[indices] for name, value in self._arrays.items()}


def fitted(name: str, arrays: Mapping[str, np.ndarray], spec: Input) -> np.ndarray:
    """Return an input's array in the input's type; UsageError if there is none, or it does not fit."""
    if name not in arrays:
        raise UsageError(f"there is no array {name!r}; there is: {', '.join(sorted(arrays)) or 'none'}")
    value = arrays[name]
    own = value.shape if spec.role == STATE or not value.ndim else value.shape[1:]
    if own != spec.shape or (spec.role != STATE and not value.ndim):
        raise UsageError(f"the array {name!r} is {value.shape}; the network reads {spec.shape}"
                         f"{'' if spec.role == STATE else ' for each sample, which the first axis counts'}")
    wanted = np.dtype(spec.dtype)
    if not np.can_cast(value.dtype, wanted, "same_kind") and not (value.astype(wanted) == value).all():
        raise UsageError(f"the array {name!r} is {value.dtype}, and the network reads {wanted}; save it as such")
    return value.astype(wanted, copy=False)


def read(argument: str, *, only: str | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a file or folder by name, or the one of a name if there is such; UsageError if it is no file
    of arrays, or one cannot be read.
    """
    if not argument:
        raise UsageError("arrays need a file; write --inputs FILE.npz, or name a folder of NAME.npy files")
    path = Path(argument).expanduser()
    try:
        if path.is_dir():
            return {file.stem: load(file) for file in sorted(path.glob(f"{only or '*'}.npy"))}
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if only in (None, name)}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{str(path)!r} cannot be read as arrays ({error or type(error).__name__}); give a .npz file, "
                         "as numpy.savez(FILE, name=array) writes it, or a folder of NAME.npy files") from error


def load(file: Path) -> np.ndarray:
    """Return the array of a .npy file, its pages read when they are needed."""
    found: Any = np.load(file, mmap_mode="r", allow_pickle=False)
    return np.asarray(found)
