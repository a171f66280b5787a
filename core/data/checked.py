"""What every sample is held to before a framework sees it: shape, type, range, finite numbers; the same under all.

Frameworks take what they are given: one raises, one clips an index, one turns NaN into 0 and goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input

from . import Dataset, DatasetKind, Looked, deaf
from .subset import Subset

CHUNK = 64  # samples looked at in one go
STATE, GIVEN = "state", "given"  # roles: what has no axis of samples; what only its owner knows the meaning of
INDICES = ("label", "ids", "segment", "position")
LENGTH = "length"  # of which none is 0


def open_dataset(kind: DatasetKind, argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int,
                 skip: Collection[str] = (), **view: Any) -> Checked:
    """Return a dataset without the samples to skip, every batch of which is checked; ``view`` as its kind takes it."""
    found = kind.open(argument, inputs, seed=seed, train=train, loaders=loaders, **view)
    split = "" if found.one_split else "train/" if train else "test/"
    called = f"{kind.name}:{argument}" if argument else kind.name
    if found.names or not skip:
        return Checked(found.without(skip), inputs, called=called, split=split)
    names = [f"{split}{index}" for index in range(found.size)]
    return Checked(Subset(found, names, skip=frozenset(skip)), inputs, called=called)


class Checked(Dataset):
    """A dataset that raises JobError, naming sample and dataset, instead of giving what its inputs do not allow.

    Shapes and types are held against the inputs in every batch, values once for each sample. It happens where
    ``batch`` is called: in the threads that prepare batches, not in the one that trains.
    """

    def __init__(self, dataset: Dataset, inputs: Mapping[str, Input], *, called: str, split: str = "") -> None:
        self._dataset, self._inputs, self._about = dataset, inputs, {"called": called, "split": split}
        self.size, self.resident, self.one_split = dataset.size, dataset.resident, dataset.one_split
        self.names, self.passed_over = dataset.names, dataset.passed_over
        self._sound = np.zeros(dataset.size, dtype=bool)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        found = self.read(indices, epoch=epoch)
        if not self._sound[indices].all():
            if wrong := faults(found, self._inputs):
                row = min(wrong)
                raise JobError(f"sample {self.name(int(indices[row]))} of {self._about['called']} cannot be used: "
                               f"{wrong[row]}. Repair or remove it, or leave it out of every job with "
                               "--on-bad-sample skip")
            self._sound[indices] = True
        return found

    def read(self, indices: np.ndarray, *, epoch: int = 0) -> dict[str, np.ndarray]:
        """Return a batch of the right shapes and types, whatever its values."""
        found = self._dataset.batch(indices, epoch=epoch)
        check_form(found, self._inputs, len(indices), called=self._about["called"])
        return found

    def name(self, index: int) -> str:
        """Return what a sample is called: its split and number where samples have no names."""
        return self.names[index] if self.names else f"{self._about['split']}{index}"

    def file(self, index: int) -> Path | None:
        return self._dataset.file(index)

    def unaugmented(self) -> Checked:
        return Checked(self._dataset.unaugmented(), self._inputs, **self._about)

    def close(self) -> None:
        self._dataset.close()


def check_form(batch: Mapping[str, np.ndarray], inputs: Mapping[str, Input], count: int, *, called: str) -> None:
    """Raise JobError unless a batch of so many samples holds an array of the right shape and type for each input."""
    if missing := sorted(inputs.keys() - batch.keys()):
        raise JobError(f"{called} gives no {missing[0]!r}; the network reads {', '.join(inputs)}, and a batch holds "
                       f"{', '.join(batch) or 'nothing'}")
    for name, spec in inputs.items():
        shape = spec.shape if spec.role == STATE else (count, *spec.shape)
        value = batch[name]
        if value.shape != shape or value.dtype != spec.dtype:
            raise JobError(f"{called} gives {name!r} as {value.dtype} of shape {value.shape}, but the network reads "
                           f"{spec.dtype} of shape {shape} for {count} samples; every sample must be of one shape")


def faults(batch: Mapping[str, np.ndarray], inputs: Mapping[str, Input]) -> dict[int, str]:
    """Return by row what is wrong with samples of the right shape and type, the first fault of each."""
    found: dict[int, str] = {}
    for name, spec in inputs.items():
        if spec.role == STATE:
            continue
        low, high = bounds(spec, inputs)
        for row in wrong_rows(batch[name], low, high):
            found.setdefault(int(row), f"{name!r} {say(batch[name][row], low, high)}")
    return found


def bounds(spec: Input, inputs: Mapping[str, Input]) -> tuple[float, float]:
    """Return what an input's values must at least be, and stay below."""
    if spec.role == "mask" and spec.dtype.startswith(("int", "uint")):
        return 0, 2
    if spec.role == "position" and spec.high is None:  # within the tokens that the masks cover
        return 0, min((other.shape[-1] for other in inputs.values() if other.role == "mask"), default=math.inf)
    if spec.role in (*INDICES, LENGTH) and spec.high is not None:
        return int(spec.role == LENGTH), spec.high
    return (-math.inf, math.inf) if spec.role != GIVEN else (math.nan, math.nan)


def wrong_rows(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the numbers of samples that hold a value out of bounds; bounds that are NaN let infinity pass."""
    if value.dtype.kind == "f":
        with np.errstate(all="ignore"):
            if np.isfinite(value.sum()):  # one pass, and no array as large: all are finite, but for a rare overflow
                return np.empty(0, np.intp)
        wrong = np.isnan(value) if math.isnan(low) else ~np.isfinite(value)
    elif value.dtype.kind in "iu" and math.isfinite(high) and value.size:
        if value.min() >= low and value.max() < high:
            return np.empty(0, np.intp)
        wrong = (value < low) | (value >= high)
    else:
        return np.empty(0, np.intp)
    return np.flatnonzero(wrong.reshape(len(value), -1).any(axis=1))


def say(value: np.ndarray, low: float, high: float) -> str:
    """Return in words what is wrong with one sample's values."""
    if value.dtype.kind == "f":
        return f"holds {int((~np.isfinite(value)).sum())} of {value.size} values that are not finite"
    first = value[(value < low) | (value >= high)].flat[0]
    return f"holds {first}, and the network takes {low:g} to {high - 1:g}"


def look(kind: DatasetKind, argument: str, inputs: Mapping[str, Input], *, seconds: float = math.inf,
         looked: Looked = deaf) -> dict[str, str]:
    """Return by name why samples of a dataset cannot be used, as far as so many seconds go, of both its splits.

    Raises:
        JobError: its samples are of another shape or type than the inputs.
    """
    found: dict[str, str] = {}
    deadline = time.monotonic() + seconds
    for train in (True, False):
        with closing(open_dataset(kind, argument, inputs, seed=0, train=train, loaders=1).unaugmented()) as dataset:
            found |= {dataset.name(index): why for index, why in walk(dataset, inputs, deadline, looked)}
            if dataset.one_split:
                break
    return found


def walk(dataset: Checked, inputs: Mapping[str, Input], deadline: float, looked: Looked) -> Iterator[tuple[int, str]]:
    """Yield the faults of a dataset's samples in order, by index, until a time of the monotonic clock."""
    for start in range(0, dataset.size, CHUNK):
        looked(start, dataset.size)
        if time.monotonic() > deadline:
            return
        yield from bad_ones(dataset, np.arange(start, min(start + CHUNK, dataset.size)), inputs).items()
    looked(dataset.size, dataset.size)


def bad_ones(dataset: Checked, indices: np.ndarray, inputs: Mapping[str, Input]) -> dict[int, str]:
    """Return by index what is wrong with some samples, looked at one by one if they cannot be read together.

    Raises:
        JobError: not one of several can be read: then it is no fault of theirs.
    """
    try:
        return {int(indices[row]): why for row, why in faults(dataset.read(indices), inputs).items()}
    except JobError as error:
        if len(indices) == 1:
            return {int(indices[0]): str(error)}
        found = {index: why for one in indices for index, why in bad_ones(dataset, np.array([one]), inputs).items()}
        if len(found) == len(indices):
            raise
        return found
