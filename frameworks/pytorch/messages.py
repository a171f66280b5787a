"""The gradient buckets that DistributedDataParallel really sends, seen by its own communication hook."""

# No `from __future__ import annotations`: DDP reads the hook's annotations, which must be classes, not names.
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from dlcompare.core.plugins.collectives import ALL_REDUCE, Message

STEPS = 3  # after the first one buckets are laid out anew, in the order in which gradients became ready


def buckets(parallel: DistributedDataParallel, step: Callable[[], object]) -> list[Message]:
    """Return the buckets of the last of a few steps, in the order in which they were sent."""
    seen: list[Message] = []

    def hook(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        seen.append(Message(ALL_REDUCE, bucket.buffer().nbytes, len(bucket.gradients())))
        return allreduce_hook(dist.group.WORLD, bucket)  # what happens without a hook

    parallel.register_comm_hook(None, hook)
    for _ in range(STEPS):
        seen.clear()
        step()
    return seen
