"""A small network through steps that no conformance case takes: ``python mxnet_probe.py EXECUTION`` prints the end."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks.mxnet import Mxnet

STEPS = ((4, 0.1), (4, 0.05), (4, 0.0), (6, 0.2), (6, 0.2))  # rows, learning rate: with a pause, and other batches


def build(x: Tensor, label: Tensor) -> dict[str, Tensor]:
    y = x.conv(3, 3, pad=1, name="conv").batch_norm(name="bn").relu().flatten().dense(3, name="fc")
    return {"y": y, "loss": y.cross_entropy(label, name="loss")}


def graph() -> Graph:
    return trace("probe", build, {"x": Input((2, 2, 2)), "label": Input((), "int64", "label", 3)})


def params() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    return {k: (0.5 + draw.random(p.shape)).astype(np.float32) for k, p in graph().params().items()}


def batch(rows: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(rows)
    return {"x": draw.standard_normal((rows, 2, 2, 2)).astype(np.float32), "label": draw.integers(0, 3, rows)}


def job(execution: str) -> Job:
    return Job("mxnet", "probe", execution=execution, momentum=0.9, weight_decay=0.01)


def story(trainer: Any) -> dict[str, Any]:
    """Train, look on between the steps, and return what was seen, as lists."""
    looks = []
    for rows, lr in STEPS:
        given = batch(rows)
        placed = trainer.place(given)
        given["x"][:] = 0  # what is placed must not change with the host's array
        trainer.step(placed, lr)
        looks.append(trainer.predict(batch(1))["y"])
        trainer.gradients(batch(rows))
        looks.append(trainer.predict(batch(7))["y"])
    return {"looks": [look.tolist() for look in looks], "loss": trainer.wait(),
            "params": {k: v.tolist() for k, v in trainer.params().items()}}


def walks(backend: Mxnet, execution: str) -> dict[str, Any]:
    """Return the story, and how often Python walked the training network meanwhile."""
    backend.load()
    from dlcompare.frameworks.mxnet import ops

    count, walk = [], ops.Network.hybrid_forward

    def counted(self: Any, *arguments: Any) -> Any:
        count.append(self.outputs == ["loss"])
        return walk(self, *arguments)

    ops.Network.hybrid_forward = counted
    return {**story(backend.trainer(graph(), params(), job(execution))), "walks": sum(count)}


if __name__ == "__main__":
    print(json.dumps(walks(Mxnet(), sys.argv[1])))
