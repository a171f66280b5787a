"""The same trainer with gradients added up by Horovod, one operation of MXNet's engine each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import horovod
import horovod.mxnet as hvd

from .exchange import Exchange
from .trainer import MxnetTrainer


class Horovod(Exchange):
    """All-reduce between the workers; Horovod fuses what is ready at once, and answers to names."""

    def __init__(self) -> None:
        if not hvd.is_initialized():
            hvd.init()
        self.rank, self.world = hvd.rank(), hvd.size()

    def add(self, gradients: Mapping[str, Any]) -> None:
        for number, (name, gradient) in enumerate(gradients.items()):
            hvd.allreduce_(gradient, op=hvd.Sum, name=f"gradient.{name}", priority=-number)

    def add_now(self, values: Any) -> None:
        hvd.allreduce_(values, op=hvd.Sum, name="dlcompare.gather")

    def settings(self) -> dict[str, Any]:
        mebibytes = int(os.environ.get("HOROVOD_FUSION_THRESHOLD", 128 << 20)) >> 20
        return {"all_reduce": "gloo", "servers": 0, "gradient_buckets": f"Horovod, {mebibytes} MiB",
                "all_reduce_cycle_ms": float(os.environ.get("HOROVOD_CYCLE_TIME", 1))}


class HorovodTrainer(MxnetTrainer):
    """See :class:`MxnetTrainer`; what differs is the exchange."""

    def _join(self) -> Exchange:
        return Horovod()

    def versions(self) -> dict[str, str]:
        return {**super().versions(), "horovod": horovod.__version__}
