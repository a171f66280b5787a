"""Horovod's collectives as TensorFlow calls them in a training step: Gloo between CPU processes, NCCL between GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from dlcompare.core.plugins.collectives import (
    ALL_GATHER,
    ALL_REDUCE,
    BROADCAST,
    REDUCE_SCATTER,
    Call,
    CollectiveJob,
    Collectives,
)

from .trainer import join, versions


class HorovodCollectives(Collectives):
    """See :class:`Collectives`. Horovod answers to names: one for each size, so that its cache of answers is used."""

    def __init__(self, job: CollectiveJob) -> None:
        join(job)
        self.rank, self.world = hvd.rank(), hvd.size()
        self.device = "/GPU:0" if job.device == "cuda" else "/CPU:0"
        self.one = tf.zeros(1)
        self.meet = traced(lambda one: hvd.allreduce(one, op=hvd.Sum, name="dlcompare.barrier"))
        self.total = traced(lambda one: hvd.allreduce(one, op=hvd.Sum, name="dlcompare.gather"))

    def barrier(self) -> None:
        self.meet(self.one)  # hvd.barrier is not offered to TensorFlow

    def gather(self, value: float) -> list[float]:
        values = np.zeros(self.world)
        values[self.rank] = value
        return [float(one) for one in self.total(tf.constant(values)).numpy()]

    def call(self, collective: str, payloads: Sequence[np.ndarray], *, in_place: bool) -> Call:
        with tf.device(self.device):
            placed = [tf.constant(one) for one in payloads]
        return HorovodCall(collective, placed, f"dlcompare.{collective}.{len(payloads[0])}", cuda=self.cuda)

    @property
    def cuda(self) -> bool:
        return self.device == "/GPU:0"

    def settings(self) -> dict[str, Any]:
        return {
            "engine": "Horovod over " + ("NCCL" if self.cuda and hvd.nccl_built() else "Gloo"),
            "cycle_time_ms": float(os.environ.get("HOROVOD_CYCLE_TIME", 1)),
            "fusion_threshold_bytes": int(os.environ.get("HOROVOD_FUSION_THRESHOLD", 128 << 20)),
            "cache_capacity": int(os.environ.get("HOROVOD_CACHE_CAPACITY", 1024)),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }

    def versions(self) -> dict[str, str]:
        return versions()


def traced(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function as a graph, as training has it: an op that runs eagerly has no name of its own."""
    made: Callable[[Any], Any] = tf.function(function, autograph=False)
    return made


class HorovodCall(Call):
    """A collective whose result is a tensor of its own."""

    def __init__(self, collective: str, payloads: Sequence[Any], name: str, *, cuda: bool) -> None:
        self.payloads, self.cuda = payloads, cuda
        self.found: Any = None
        self.do = traced({
            ALL_REDUCE: lambda one: hvd.allreduce(one, op=hvd.Sum, name=name),
            BROADCAST: lambda one: hvd.broadcast(one, 0, name=name),
            ALL_GATHER: lambda one: hvd.allgather(one, name=name),
            REDUCE_SCATTER: lambda one: hvd.reducescatter(one, op=hvd.Sum, name=name)}[collective])

    def run(self, turn: int) -> None:
        self.found = self.do(self.payloads[turn])
        if self.cuda:
            tf.test.experimental.sync_devices()

    def result(self) -> np.ndarray:
        found: np.ndarray = self.found.numpy()
        return found
