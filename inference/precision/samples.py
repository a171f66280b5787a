"""Which samples calibrate and which are measured; never the same ones."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.registry import plugins

PROTOCOLS = ("split", "xu2018")
XU2018 = 50 * 25  # batches times samples: section V of Xu et al. 2018 takes them from the validation set
CALIBRATION_BATCH = 5  # more costs memory, not time
HELD = 64  # samples that ways of quantising are judged on; more tell little more, and unfused arithmetic is slow


@dataclass(frozen=True)
class Samples:
    """Indices by purpose. ``calibration_train`` says whether those are of the training split; measured are the others
    of the test split. ``held`` are of the calibration's split too, and judge ways of quantising."""

    calibration: tuple[int, ...]
    calibration_train: bool
    measured: tuple[int, ...]
    held: tuple[int, ...] = ()


def choose(data: str, inputs: Mapping[str, Input], *, protocol: str, calibration: int | None, measured: int | None,
           seed: int, skip: Collection[str] = ()) -> Samples:
    """Return the samples of a run, drawn by seed, none of those to ``skip``.

    ``split`` calibrates with training samples and measures on test samples; ``xu2018`` takes both, apart, from the
    test split, and so does ``split`` where the same samples serve both purposes. ``calibration`` None: 1250, or half
    of a smaller split. ``measured`` bounds how many are measured; None: all. Held back from calibration are training
    samples beyond it; where there are none the last of it are held, and not held back.

    Raises:
        UsageError: there are fewer samples than asked for, or fewer to calibrate with than one batch.
    """
    import numpy as np

    tests = extent(data, inputs, train=False, seed=seed, skip=skip)
    train = protocol == "split" and not tests.one_split
    there = extent(data, inputs, train=True, seed=seed, skip=skip).size if train else tests.size
    calibration = min(XU2018, there // 2) if calibration is None else calibration
    if calibration < CALIBRATION_BATCH:
        raise UsageError(f"{calibration} samples are less than one calibration batch of {CALIBRATION_BATCH}; give more "
                         "--calibration-samples, some hundred at least")
    if calibration > there - (0 if train else 1):
        raise UsageError(f"{data} has {there} samples to calibrate with, not {calibration}; give fewer "
                         "--calibration-samples")
    order = np.random.default_rng(seed).permutation(there)
    rest = np.arange(tests.size) if train else np.sort(order[calibration:])
    if measured is not None and measured < len(rest):
        rest = np.sort(np.random.default_rng(seed + 1).permutation(rest)[:measured])
    beyond = order[calibration:calibration + HELD] if train else order[:0]
    held = beyond if len(beyond) else order[max(0, calibration - HELD):calibration]
    return Samples(tuple(order[:calibration].tolist()), train, tuple(rest.tolist()), tuple(held.tolist()))


def apart(samples: Samples, made: Mapping[str, Any], *, data: str) -> Samples:
    """Return samples of which none is measured that an earlier calibration, described by its ``made``, has seen.

    Raises:
        UsageError: it has seen all.
    """
    if made["data"] != data or made["train"]:
        return samples
    seen = set(made["samples"])
    rest = tuple(index for index in samples.measured if index not in seen)
    if not rest:
        raise UsageError(f"the calibration given has seen all {len(samples.measured)} samples of {data} to measure, "
                         "and none may serve both; calibrate again without --calibration, or give more --samples")
    return dataclasses.replace(samples, measured=rest)


class Extent(NamedTuple):
    """How many samples a split has, and whether they are the other split's too."""

    size: int
    one_split: bool


def extent(data: str, inputs: Mapping[str, Input], *, train: bool, seed: int, skip: Collection[str]) -> Extent:
    """Return how many samples a split has, those to skip not counted."""
    from dlcompare.core.data.checked import open_dataset  # late: it needs NumPy

    kind, argument = plugins().dataset(data)
    with closing(open_dataset(kind, argument, inputs, seed=seed, train=train, loaders=1, skip=skip)) as found:
        return Extent(int(found.size), found.one_split)


def ids_sha256(indices: Sequence[int]) -> str:
    """Return the hash of a list of samples, order included."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()
