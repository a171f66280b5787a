"""How the workers of a job add up their gradients: nothing for one worker, MXNet's own KVStore for several.

Horovod's way is in ``horovod_trainer``; the rest of the trainer knows only :class:`Exchange`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mxnet as mx
from mxnet import nd

from dlcompare.core.errors import JobError

KEYS = itertools.count()  # the KVStore never forgets one, so each trainer of a process takes fresh ones
GATHER = next(KEYS)


class Exchange:
    """One worker, which has nobody to exchange with; the contract for the others."""

    rank, world = 0, 1

    def start(self, weights: Mapping[str, Any]) -> None:
        """Announce what will be added up, by name."""

    def add(self, gradients: Mapping[str, Any]) -> None:
        """Start to replace each gradient by its sum over all workers."""

    def add_now(self, values: Any) -> None:
        """Replace a vector of float64, one number a worker, by its sum over all workers."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Any]]:
        """Collect the arrays that are sent meanwhile; JobError if that cannot be seen."""
        raise JobError("what this exchange sends cannot be seen; give --sizes in bytes")
        yield []

    def settings(self) -> dict[str, Any]:
        """Return what a record shall say of it."""
        return {"all_reduce": None, "servers": 0, "gradient_buckets": "none"}


class KvStore(Exchange):
    """``dist_sync``: the workers push to the server, and pull the sum."""

    def __init__(self) -> None:
        self.store = join()
        self.rank, self.world = self.store.rank, self.store.num_workers
        self.keys: Sequence[int] = ()

    def start(self, weights: Mapping[str, Any]) -> None:
        self.keys = [next(KEYS) for _ in weights]
        self.store.init(self.keys, list(weights.values()))

    def add(self, gradients: Mapping[str, Any]) -> None:
        # As gluon.Trainer does: each when it is there, the first layers' before others that wait.
        for number, (key, gradient) in enumerate(zip(self.keys, gradients.values(), strict=True)):
            self.store.pushpull(key, gradient, priority=-number)

    def add_now(self, values: Any) -> None:
        self.store.pushpull(GATHER, values)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Any]]:
        pushed: list[Any] = []
        real = self.store.pushpull

        def noted(key: int, value: Any, **how: Any) -> None:
            pushed.append(value)
            real(key, value, **how)

        self.store.pushpull = noted
        try:
            yield pushed
        finally:
            self.store.pushpull = real

    def settings(self) -> dict[str, Any]:
        return {"all_reduce": "KVStore dist_sync", "servers": int(os.environ["DMLC_NUM_SERVER"]),
                "gradient_buckets": "none"}


@functools.cache
def join() -> Any:
    """Join the job's KVStore, once per process, and return it."""
    store = mx.kv.create("dist_sync")
    store.init(GATHER, nd.zeros(store.num_workers, dtype="float64"))
    # A tidy end would wait for all others', and end the servers, while the launcher wants them as long as the workers.
    atexit.register(os._exit, 0)
    return store
