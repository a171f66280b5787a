"""Workers without a framework: the reference, one thread for each rank, averaging gradients over a group.

Unlike the oracle, which emulates all workers in one walk, each of these sees its own share alone, as a real backend's
process does; so that the two agree says something about both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dlcompare.core.conformance import oracle
from dlcompare.core.conformance.cases import Case
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks.reference.trainer import ReferenceTrainer

Arrays = dict[str, np.ndarray]


class Group:
    """What the ranks of a job share: an all-gather, which is a barrier too."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.slots: list[Any] = [None] * world
        self.barrier = threading.Barrier(world, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class Worker(ReferenceTrainer):
    """One rank: as a framework's trainer does, it shows float32 outside."""

    def __init__(self, case: Case, job: Job, group: Group, rank: int) -> None:
        super().__init__(case.graph, case.params, job)
        self.group, self.rank, self.world = group, rank, group.world

    def average(self, shares):
        return super().average(self.group.exchange(self.rank, shares[0]))

    def gather(self, value):
        return self.group.exchange(self.rank, value)

    def predict(self, batch):
        return single(super().predict(batch))

    def activations(self, batch):
        return single(super().activations(batch))

    def gradients(self, batch):
        return single(super().gradients(batch))

    def params(self):
        return single(super().params())


class Rounded(Worker):
    """Rounds every result, gradient and parameter to float32, as an fp32 framework must."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.noise = lambda array: array.astype(np.float32).astype(np.float64)

    def update(self, gradients, lr):
        super().update(gradients, lr)
        for arrays in (self.weights, self.velocity):
            arrays.update({name: self.noise(array) for name, array in arrays.items()})


def single(arrays: Arrays) -> Arrays:
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def observed(case: Case, job: Job, make: Callable[[Case, Job, Group, int], Worker] = Worker) -> Arrays:
    """Run a case on a group of the job's size and return what rank 0 saw."""
    group = Group(job.workers)

    def run(rank: int) -> Arrays:
        try:
            return oracle.observe(make(case, job, group, rank), case, job=job)
        except BaseException:
            group.barrier.abort()
            raise

    with ThreadPoolExecutor(job.workers) as pool:
        rank_0, *_ = pool.map(run, range(job.workers))
    return rank_0
