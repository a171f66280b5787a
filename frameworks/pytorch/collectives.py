"""``torch.distributed`` in one worker process: gloo on CPU, NCCL on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

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


class TorchCollectives(Collectives):
    """See :class:`Collectives`."""

    in_place = (ALL_REDUCE, BROADCAST)

    def __init__(self, job: CollectiveJob) -> None:
        self.device = join(job)
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def barrier(self) -> None:
        dist.barrier()

    def gather(self, value: float) -> list[float]:
        values = torch.zeros(self.world, dtype=torch.float64, device=self.device)
        values[self.rank] = value
        dist.all_reduce(values)
        return [float(one) for one in values.tolist()]

    def call(self, collective: str, payloads: Sequence[np.ndarray], *, in_place: bool) -> Call:
        placed = [torch.from_numpy(one).to(self.device) for one in payloads]
        kind = InPlace if in_place else Copied if collective in self.in_place else OutOfPlace
        return kind(collective, placed, self.world)

    def settings(self) -> dict[str, Any]:
        return {"engine": dist.get_backend(), "intra_op_threads": torch.get_num_threads()}

    def versions(self) -> dict[str, str]:
        return versions(self.device)


class TorchCall(Call):
    """A collective from payloads into one buffer of the result's length."""

    def __init__(self, collective: str, payloads: Sequence[Tensor], world: int) -> None:
        self.payloads = payloads
        times = {ALL_GATHER: world, REDUCE_SCATTER: 1 / world}.get(collective, 1)
        self.buffer = torch.empty(round(len(payloads[0]) * times), device=payloads[0].device)
        self.do: Callable[..., Any] = {
            ALL_REDUCE: dist.all_reduce, BROADCAST: lambda buffer: dist.broadcast(buffer, 0),
            ALL_GATHER: dist.all_gather_into_tensor, REDUCE_SCATTER: dist.reduce_scatter_tensor}[collective]
        self.cuda = self.buffer.device.type == "cuda"

    def finish(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def result(self) -> np.ndarray:
        return self.buffer.cpu().numpy()


class InPlace(TorchCall):
    """all_reduce or broadcast as they are, in place."""

    def ready(self, turn: int) -> None:
        self.buffer.copy_(self.payloads[turn])
        self.finish()

    def run(self, turn: int) -> None:
        self.do(self.buffer)
        self.finish()


class Copied(TorchCall):
    """The same on a copy, which is part of the call."""

    def run(self, turn: int) -> None:
        self.buffer.copy_(self.payloads[turn])
        self.do(self.buffer)
        self.finish()


class OutOfPlace(TorchCall):
    """all_gather and reduce_scatter."""

    def run(self, turn: int) -> None:
        self.do(self.buffer, self.payloads[turn])
        self.finish()
