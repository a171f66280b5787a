"""Invented samples for any model: costs nothing to feed, because one placed batch is fed again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dlcompare.core.data import Dataset
from dlcompare.core.data.images.fit import no_argument
from dlcompare.core.data.streams import SYNTHETIC, normal, raw
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

BOUNDED = ("label", "ids", "segment", "length")  # integers below the input's ``high``
ROLES = ("image", "mask", "position", "weight", *BOUNDED)


def check(argument: str, inputs: Mapping[str, Input]) -> None:
    """Raise UsageError if there is an argument, or an input whose role or bound says too little to invent it."""
    no_argument(argument, dataset="synthetic")
    masked = any(spec.role == "mask" for spec in inputs.values())
    for name, spec in inputs.items():
        if spec.role not in ROLES:
            raise UsageError(f"dataset 'synthetic' cannot fill input {name!r} of role {spec.role!r}; "
                             f"it knows: {', '.join(ROLES)}")
        if spec.high is None and (spec.role in BOUNDED or (spec.role == "position" and not masked)):
            raise UsageError(f"input {name!r} of role {spec.role!r} declares no upper bound; "
                             "set Input.high in the model")


def open_dataset(argument: str, inputs: Mapping[str, Input], *, seed: int, train: bool, loaders: int) -> Synthetic:
    """Return invented samples; training and test samples differ."""
    check(argument, inputs)
    return Synthetic(inputs, seed=seed, train=train)


class Synthetic(Dataset):
    """Samples by role: images are normal (0, 1); labels, ids and segments are uniform integers below ``high``.

    A mask is a prefix of ones, at least half of its length, and so are weights; a length is at least half of the
    longest too; a position lies within the ones of the shortest mask.
    Sample i is a function of the seed, the split and i, and has the same bits under every NumPy.
    """

    size = 1 << 18
    resident = True

    def __init__(self, inputs: Mapping[str, Input], *, seed: int, train: bool) -> None:
        self._inputs = inputs
        self._seed = seed
        self._split = int(train)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        out = {name: np.empty((len(indices), *spec.shape), spec.dtype) for name, spec in self._inputs.items()}
        for row, index in enumerate(indices):
            for name, values in self._sample(int(index)).items():
                out[name][row] = values
        return out

    def _sample(self, index: int) -> dict[str, np.ndarray]:
        sample, valid = {}, math.inf
        for place, (name, spec) in enumerate(self._inputs.items()):
            if spec.role == "mask":
                sample[name] = self._mask(spec, key=self._key(index, place))
                valid = min(valid, int(sample[name].sum()))
        for place, (name, spec) in enumerate(self._inputs.items()):
            if spec.role != "mask":
                sample[name] = self._values(spec, valid=valid, key=self._key(index, place))
        return sample

    def _key(self, index: int, place: int) -> tuple[int, ...]:
        return (SYNTHETIC, self._split, index, place)

    def _mask(self, spec: Input, *, key: tuple[int, ...]) -> np.ndarray:
        length = math.prod(spec.shape)
        return (np.arange(length) < self._most(length, key=key)).reshape(spec.shape)

    def _most(self, length: int, *, key: tuple[int, ...]) -> int:
        """Return at least half of a length, and at most all of it."""
        least = (length + 1) // 2
        return least + int(raw(1, seed=self._seed, key=key)[0]) % (length - least + 1)

    def _values(self, spec: Input, *, valid: float, key: tuple[int, ...]) -> np.ndarray:
        count = math.prod(spec.shape)
        if spec.role == "weight":
            return self._mask(spec, key=key).astype(spec.dtype)
        if spec.role == "image":
            return normal(count, seed=self._seed, key=key).reshape(spec.shape)
        if spec.role == "length":
            return np.full(spec.shape, self._most((spec.high or 2) - 1, key=key))
        high = math.inf if spec.high is None else spec.high
        bound = int(min(high, valid) if spec.role == "position" else high)
        return (raw(count, seed=self._seed, key=key) % np.uint64(bound)).reshape(spec.shape)
