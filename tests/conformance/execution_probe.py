"""One worker process in a backend's environment: what loss scaling, recompilation and wrapping really do, as JSON.

Each worker writes a file of its own: launchers mix what workers print, now and then two of them on one line.

    python execution_probe.py WHAT BACKEND EXECUTION
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dlcompare.core.graph import Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins


def build(x: Tensor, label: Tensor) -> dict[str, Tensor]:
    y = x.batch_norm(name="bn").flatten().dense(3, name="fc")
    return {"y": y, "loss": y.cross_entropy(label, name="loss")}


def trainer(**options: Any) -> Any:
    graph = trace("probe", build, {"x": Input((2, 4, 4)), "label": Input((), "int64", "label", 3)})
    params = {k: np.full(p.shape, 0.5, np.float32) for k, p in graph.params().items()}
    job = Job(sys.argv[2], "probe", execution=sys.argv[3], **options)
    backend = plugins().backend(job.framework)
    backend.load()
    return backend.trainer(graph, params, job)


def batch() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).random((4, 2, 4, 4), np.float32), "label": np.array([0, 1, 2, 0])}


def state(found: Any) -> dict[str, Any]:
    params = found.params()
    return {"weight": params["fc.weight"].tolist(), "mean": params["bn.running_mean"].tolist(),
            "scale": found.settings()["loss_scale"]}


def overflow() -> dict[str, Any]:
    """Step at a scale at which only rank 1's gradients overflow (if there is a rank 1), until the steps are good."""
    found = trainer(precision="fp16", loss_scale=2.0**20, momentum=0.9)
    placed = found.place(batch() if found.rank == found.world - 1 else {**batch(), "x": batch()["x"] * 0})
    states = [state(found)]
    for _ in range(8):
        found.step(placed, 0.1)
        found.wait()
        states.append(state(found))
    return {"states": states}


def rates() -> dict[str, Any]:
    """Step at four learning rates and count what was compiled or traced."""
    found = trainer()
    counts = []
    for step in range(4):
        found.step(found.place(batch()), 0.1 / (step + 1))
        found.wait()
        settings = found.settings()
        counts.append(settings.get("compiled_graphs") or found.derive.experimental_get_tracing_count())
    return {"counts": counts, "settings": found.settings()}


def data_parallel() -> dict[str, Any]:
    """Train by DataParallel on the CPU, which passes through, beside the same steps of a plain module."""
    found = trainer(workers=2)
    seen = found.activations(batch())
    found.step(found.place(batch()), 0.1)
    return {"wrapped": type(found.parallel).__name__, "loss": found.wait(), "world": found.world,
            "means": np.abs(seen["bn"].reshape(2, 2, 2, 16).mean((1, 3)) - 0.5).max().item(),
            "seen": float(seen["loss"]), "gathered": found.gather(3.0)}


if __name__ == "__main__":
    asked = {"overflow": overflow, "rates": rates, "data_parallel": data_parallel}[sys.argv[1]]
    Path(f"found-{os.getpid()}.json").write_text(json.dumps(asked()))
