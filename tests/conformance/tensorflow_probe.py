"""One of two workers under the backend's horovodrun: ``observe`` tells what it saw, ``die`` loses rank 1.

Each writes a file of its own into the working folder: the launcher may mix what two workers print on one line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from dlcompare.core.graph import Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks.tensorflow import TfHorovod


def build(x: Tensor, label: Tensor) -> dict[str, Tensor]:
    y = x.batch_norm(name="bn").dropout(0.5).flatten().dense(3, name="fc")
    return {"y": y, "loss": y.cross_entropy(label, name="loss")}


def trainer() -> Any:
    graph = trace("probe", build, {"x": Input((2, 4, 4)), "label": Input((), "int64", "label", 3)})
    params = {k: np.full(p.shape, 0.5, np.float32) for k, p in graph.params().items()}
    return TfHorovod().trainer(graph, params, Job("tf-horovod", "probe", workers=2))


def batch() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).random((4, 2, 4, 4), np.float32), "label": np.array([0, 1, 2, 0])}


def listening() -> list[str]:
    """Return the addresses on which horovodrun or any process that it started waits for connections."""
    family = {p.pid for p in psutil.Process(os.getsid(os.getppid())).parent().children(recursive=True)}
    family.add(psutil.Process(os.getsid(os.getppid())).ppid())
    sockets = [c for c in psutil.net_connections("inet") if c.pid in family and c.status == psutil.CONN_LISTEN]
    return sorted({c.laddr.ip for c in sockets})


def tell(found: dict[str, Any]) -> None:
    Path(f"found-{os.getpid()}.json").write_text(json.dumps(found))


def observe() -> None:
    found = trainer()
    given = batch()
    placed = found.place(given)
    given["x"][:], given["label"][:] = 0, 0  # what is placed must not change with the host's arrays
    losses = []
    for step in range(4):
        found.step(placed, 0.1 / (step + 1))
        losses.append(found.gather(found.wait()))
    tell({"listening": listening(), "traces": found.train.experimental_get_tracing_count(),
          "losses": losses, "ranks": found.gather(found.rank),
          "mean": found.params()["bn.running_mean"].tolist(), "settings": found.settings()})
    found.gather(0.0)


def die() -> None:
    found = trainer()
    tell({"pid": os.getpid()})
    found.gather(0.0)
    if found.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    found.gather(0.0)


if __name__ == "__main__":
    {"observe": observe, "die": die}[sys.argv[1]]()
