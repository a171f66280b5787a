"""MXNet's KVStore as a collective: workers push to the server, which adds up, and pull the sum."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from mxnet import nd

from dlcompare.core.plugins.collectives import BROADCAST, Call, CollectiveJob, Collectives

from .exchange import GATHER, KEYS, join
from .trainer import versions


class KvStoreCollectives(Collectives):
    """See :class:`Collectives`. ``pushpull`` writes the sum over what was pushed, so it is in place by nature."""

    in_place = ("all_reduce",)

    def __init__(self, job: CollectiveJob) -> None:
        self.store = join()
        self.rank, self.world = self.store.rank, self.store.num_workers
        self.meeting, self.nothing = next(KEYS), nd.zeros(1)
        self.store.init(self.meeting, self.nothing)

    def barrier(self) -> None:  # bare, for what ranks do after it sets them apart, and the slowest one's time counts
        self.store.pushpull(self.meeting, self.nothing)
        self.nothing.wait_to_read()

    def gather(self, value: float) -> list[float]:
        values = nd.zeros(self.world, dtype="float64")
        values[self.rank] = value
        self.store.pushpull(GATHER, values)
        return [float(one) for one in values.asnumpy()]

    def call(self, collective: str, payloads: Sequence[np.ndarray], *, in_place: bool) -> Call:
        if collective == BROADCAST and self.rank:
            payloads = [np.zeros_like(one) for one in payloads]  # the sum is then rank 0's
        return KvStoreCall(self.store, [nd.array(one) for one in payloads], in_place=in_place)

    def settings(self) -> dict[str, Any]:
        return {"engine": f"KVStore {self.store.type}", "servers": int(os.environ["DMLC_NUM_SERVER"]),
                "cut_above_elements": int(os.environ.get("MXNET_KVSTORE_BIGARRAY_BOUND", 1000 * 1000)),
                "intra_op_threads": int(os.environ["OMP_NUM_THREADS"])}

    def versions(self) -> dict[str, str]:
        return versions()


class KvStoreCall(Call):
    """A key of its own, pushed and pulled."""

    def __init__(self, store: Any, payloads: Sequence[Any], *, in_place: bool) -> None:
        self.store, self.payloads, self.in_place = store, payloads, in_place
        self.key, self.buffer = next(KEYS), nd.zeros_like(payloads[0])
        store.init(self.key, self.buffer)

    def ready(self, turn: int) -> None:
        if self.in_place:
            self.copy(turn)
            self.buffer.wait_to_read()

    def run(self, turn: int) -> None:
        if not self.in_place:
            self.copy(turn)
        self.store.pushpull(self.key, self.buffer)
        self.buffer.wait_to_read()

    def copy(self, turn: int) -> None:
        self.payloads[turn].copyto(self.buffer)

    def result(self) -> np.ndarray:
        found: np.ndarray = self.buffer.asnumpy()
        return found
