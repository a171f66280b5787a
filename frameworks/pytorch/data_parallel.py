"""The process that drives all GPUs of a job under ``torch.nn.DataParallel``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlcompare.core.plugins.backend import Arrays

from .trainer import TorchTrainer, prepare


class DataParallelTrainer(TorchTrainer):
    """One process: each step copies the parameters to every GPU, and adds the gradients up on the first."""

    def _join(self) -> torch.device:
        device = torch.device(self.job.device, 0) if self.job.device == "cuda" else torch.device("cpu")
        prepare(self.job, device)
        warnings.filterwarnings("ignore", "Was asked to gather along dimension 0", UserWarning)  # losses are scalars
        return device

    def _parallel(self) -> Callable[..., dict[str, Tensor]]:
        ids = list(range(self.job.workers)) if self.device.type == "cuda" else None
        return nn.DataParallel(Within(self._precision, self.module), device_ids=ids)

    def _devices(self) -> list[int]:
        return list(range(self.job.workers))

    def _mean_loss(self, placed: dict[str, Tensor]) -> Tensor:
        return super()._mean_loss(placed).mean()  # of one loss for each GPU's share, all equally large

    def gather(self, value: float) -> list[float]:
        return [value]

    def activations(self, batch: Arrays) -> Arrays:
        """Return what each GPU's share gives, one share after the other: batch norm looks at one share alone."""
        size = len(next(iter(batch.values()))) // self.job.workers
        shares = [{k: v[i * size:(i + 1) * size] for k, v in batch.items()} for i in range(self.job.workers)]
        seen = [super(DataParallelTrainer, self).activations(share) for share in shares]
        return {name: np.stack(parts).mean(0) if parts[0].ndim == 0 else np.concatenate(parts)
                for name, parts in ((name, [s[name] for s in seen]) for name in seen[0])}

    def _parallel_settings(self) -> dict[str, Any]:
        return {"all_reduce": "DataParallel, sum on the first GPU", "gradient_buckets": None,
                "buffers_broadcast": True, "processes": 1}


class Within(nn.Module):
    """A module that is called in a context of its own making, on whatever thread.

    DataParallel's threads take over that there is autocast, but not to which type: bf16 would silently be fp16.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[None]], module: nn.Module) -> None:
        super().__init__()
        self.context, self.module = context, module

    def forward(self, **inputs: Tensor) -> Any:
        with self.context():
            return self.module(**inputs)
