"""What a backend should show on a case, and how far it may be off: an exact run of the reference, and trials.

Tolerances are derived, not chosen per op: the reference is run again with every result and every gradient multiplied by
1 + a * u, u uniform in [-1, 1], a ``FACTOR`` times the precision's rounding (``ROUNDING``); a tensor may differ from
the exact run, in Euclidean norm, by ``SLACK`` times what that noise did to it in the worst of some trials. So a tensor
that rounding hardly moves is held tightly, and one that amplifies rounding is not blamed for it. It is the noise that
is made larger, not what it did: a ReLU on the edge of 0 turns over whole or not at all, only more often.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.registry import plugins

from .cases import Case
from .check import Expected
from .oracle import distance, kind, norm, observe

if TYPE_CHECKING:
    from dlcompare.core.plugins.backend import Arrays
    from dlcompare.core.plugins.job import Job

# Two units in the last place, for a kernel's fp32 result is a sum of up to some thousand rounded terms; in bf16 such a
# sum is rounded once, by at most 2^-8, half of it on average; in tf32 and fp16 with three bits more.
ROUNDING = {"fp32": 2.0**-22, "tf32": 2.0**-12, "bf16": 2.0**-9, "fp16": 2.0**-12}
FACTOR, SLACK = 8.0, 1.5
STORED = 2.0**-23  # every step rounds the parameters to float32, in any precision
TRIALS = 8  # of a whole model too: its three losses hang on few numbers, and scatter sixteenfold (docs/semantics.md)
ROW = 1_000_003  # factors drawn for a trial; a prime, so that no two rows of a tensor get the same ones

Noise = Callable[[np.ndarray], np.ndarray]


def expect(case: Case, job: Job, **emulation: Any) -> Arrays:
    """Return what the reference observes, emulating the job's workers in one process; ``emulation``: noise, dtype."""
    oracle: Any = plugins().backend(ORACLE)
    trainer = oracle.oracle(case.graph, case.params, job, replicas=job.workers, **emulation)
    return observe(trainer, dataclasses.replace(case, heavy=False, random=False), job=job)


def derive(case: Case, job: Job) -> Expected:
    """Return what a backend should show, and how far it may be off."""
    exact = expect(case, job)
    return conclude(case, job, exact, worst(trial(case, job, exact, number) for number in range(TRIALS)))


def conclude(case: Case, job: Job, exact: Arrays, moved: dict[str, float]) -> Expected:
    """Return what a backend should show, given the exact run and how far trials moved each quantity at most."""
    size = {k: max(own_size(case, exact, k), moved[k]) or 1.0 for k in exact}
    relative = {k: moved[k] / size[k] for k in exact}
    return Expected(exact, size, tolerances(exact, size, relative, amplitude(job)))


def trial(case: Case, job: Job, exact: Arrays, number: int) -> dict[str, float]:
    """Return how far the noise of one trial moves each quantity from the exact run."""
    return moved(disturbed(case, job, number), exact)


def disturbed(case: Case, job: Job, number: int) -> Arrays:
    """Return what the reference observes under the noise of one trial; each trial has noise of its own.

    Of a whole network it is computed in float32, in half the time: its rounding is a thirtieth of the noise.
    """
    dtype = np.float32 if case.heavy else np.float64
    return expect(case, job, noise=noise(amplitude(job), seed=number, dtype=dtype), dtype=dtype)


def moved(seen: Arrays, exact: Arrays) -> dict[str, float]:
    """Return how far from the exact run each quantity is."""
    return {quantity: distance(seen[quantity], exact[quantity]) for quantity in exact}


def worst(trials: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return how far each quantity was moved by the trial that moved it most."""
    found: dict[str, float] = {}
    for moved in trials:
        found = {k: max(v, found.get(k, 0.0)) for k, v in moved.items()}
    return found


def amplitude(job: Job) -> float:
    """Return how large the noise of a trial is, relative to what it is multiplied onto."""
    return FACTOR * ROUNDING[job.precision]


def noise(amplitude: float, *, seed: int, dtype: type = np.float64) -> Noise:
    """Return a function that multiplies an array by 1 + amplitude * u, u uniform in [-1, 1], and rounds to ``dtype``.

    The factors are stretches of one row drawn beforehand, each from a place of its own, which the seed decides: a draw
    for each element takes longer than most ops do.
    """
    rng, row = np.random.default_rng(seed), factors(amplitude, dtype)

    def apply(x: np.ndarray) -> np.ndarray:
        flat: np.ndarray = x.reshape(-1)
        result: np.ndarray = np.empty(x.size, dtype)
        for start in range(0, x.size, ROW):
            part, place = flat[start:start + ROW], int(rng.integers(ROW))
            np.multiply(part, row[place:place + part.size], out=result[start:start + ROW], casting="same_kind")
        return result.reshape(x.shape)

    return apply


@functools.lru_cache(maxsize=2)
def factors(amplitude: float, dtype: type) -> np.ndarray:
    """Return the row of factors, twice, so that a stretch may begin anywhere."""
    row = 1 + amplitude * np.random.default_rng(ROW).uniform(-1, 1, ROW)
    return np.concatenate([row, row]).astype(dtype)


def own_size(case: Case, exact: Arrays, quantity: str) -> float:
    """Return the norm that errors of a quantity are relative to.

    Parameters are measured by what training did to them, and a layer's together, gradients too: one that is 0 but for
    rounding (of an attention key's bias) has no size of its own.
    """
    if kind(quantity) not in ("gradient", "parameter"):
        return norm(exact[quantity])
    layer = quantity.rpartition(".")[0] + "."
    start = case.params if kind(quantity) == "parameter" else {}
    return max(norm(v - start.get(k.partition("/")[2], 0.0)) for k, v in exact.items() if k.startswith(layer))


def tolerances(exact: Arrays, size: dict[str, float], moved: dict[str, float], amplitude: float) -> dict[str, float]:
    """Return how far each quantity may be off, given how far noise of an amplitude moved it, both relative to its size.

    A single number may have been moved little by luck: it takes the tolerance of the worst quantity of its kind.
    """
    most = defaultdict[str, float](float)
    for quantity, value in moved.items():
        most[kind(quantity)] = max(most[kind(quantity)], value)
    allowed = {k: SLACK * max(moved[k] if v.ndim else most[kind(k)], amplitude) for k, v in exact.items()}
    stored = {k: STORED * norm(v) / size[k] for k, v in exact.items() if kind(k) == "parameter"}
    return allowed | {k: max(allowed[k], floor) for k, floor in stored.items()}
