"""Which samples calibrate and which are measured; never the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.registry import plugins

PROTOCOLS = ("split", "xu2018")
XU2018 = 50 * 25  # batches times samples: section V of Xu et al. 2018 takes them from the validation set
CALIBRATION_BATCH = 5  # more costs memory, not time


@dataclass(frozen=True)
class Samples:
    """Indices by purpose. ``calibration_train`` says whether those are of the training split; measured are the others
    of the test split."""

    calibration: tuple[int, ...]
    calibration_train: bool
    measured: tuple[int, ...]


def choose(data: str, inputs: Mapping[str, Input], *, protocol: str, calibration: int | None, measured: int | None,
           seed: int) -> Samples:
    """Return the samples of a run, drawn by seed.

    ``split`` calibrates with training samples and measures on test samples; ``xu2018`` takes both, apart, from the
    test split. ``calibration`` None: 1250, or half of a smaller split. ``measured`` bounds how many are measured;
    None: all.

    Raises:
        UsageError: there are fewer samples than asked for, or fewer to calibrate with than one batch.
    """
    import numpy as np

    train = protocol == "split"
    there = size(data, inputs, train=train, seed=seed)
    calibration = min(XU2018, there // 2) if calibration is None else calibration
    if calibration < CALIBRATION_BATCH:
        raise UsageError(f"{calibration} samples are less than one calibration batch of {CALIBRATION_BATCH}; give more "
                         "--calibration-samples, some hundred at least")
    if calibration > there - (0 if train else 1):
        raise UsageError(f"{data} has {there} samples to calibrate with, not {calibration}; give fewer "
                         "--calibration-samples")
    order = np.random.default_rng(seed).permutation(there)
    test = size(data, inputs, train=False, seed=seed)
    rest = np.arange(test) if train else np.sort(order[calibration:])
    if measured is not None and measured < len(rest):
        rest = np.sort(np.random.default_rng(seed + 1).permutation(rest)[:measured])
    return Samples(tuple(order[:calibration].tolist()), train, tuple(rest.tolist()))


def size(data: str, inputs: Mapping[str, Input], *, train: bool, seed: int) -> int:
    """Return how many samples a split has."""
    kind, argument = plugins().dataset(data)
    with closing(kind.open(argument, inputs, seed=seed, train=train, loaders=1)) as found:
        return int(found.size)


def ids_sha256(indices: Sequence[int]) -> str:
    """Return the hash of a list of samples, order included."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()
