"""A light network, and backends that are slow or do not end well: what process control is tested with.

Run as a program it is a launcher of the crudest kind: ``python -m slow N PYTHON ...`` starts N workers, each in a
session of its own, and waits for all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor
from dlcompare.frameworks.reference import Reference

INPUTS = {"image": Input((3, 8, 8)), "label": Input((), "int64", "label", high=10)}
STEP_SECONDS = float(os.environ.get("SLOW_STEP", "0.1"))
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def speck(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    logits = image.conv(4, 3, name="conv").relu(name="relu").flatten(name="flatten").dense(10, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


def table_with_masks() -> dict[str, Any]:
    """Return the reference's ops, but for dropout, which the reference does not draw masks for."""
    from masks import Masks

    from dlcompare.frameworks.reference.ops import TABLE

    return {**TABLE, "dropout": Masks(0)}


class Slow(Reference):
    """The reference on foot."""

    name = "slow"

    def refuse(self, job: Any) -> str | None:
        return None

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        from dlcompare.frameworks.reference.trainer import ReferenceTrainer

        class Trainer(ReferenceTrainer):
            def step(self, placed: Any, lr: float) -> None:
                time.sleep(STEP_SECONDS)
                super().step(placed, lr)

        return Trainer(graph, params, job, table=table_with_masks())


class Several(Slow):
    """Several workers, each in a session of its own, that share times and losses but no gradients."""

    name = "several"

    def command(self, job: Any, python: str) -> list[str]:
        return [python, "-m", __name__, str(job.workers), python]

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        trainer.rank, trainer.world = int(os.environ["SLOW_RANK"]), job.workers
        trainer.gather = Board(trainer.rank, job.workers).gather
        return trainer


class Lingering(Several):
    """Its launcher stays when all workers have ended."""

    name = "lingering"

    def command(self, job: Any, python: str) -> list[str]:
        stay = "import subprocess, sys, time; subprocess.run(sys.argv[1:]); time.sleep(600)"
        return [python, "-c", stay, *super().command(job, python)]


class Board:
    """Numbers that workers show one another in a file: two pages, used in turn, of (value, turn) for each rank."""

    def __init__(self, rank: int, world: int) -> None:
        import numpy as np

        with Path("board").open("ab") as file:
            file.truncate(2 * world * 2 * 8)
        self.pages = np.memmap("board", dtype=np.float64, mode="r+", shape=(2, world, 2))
        self.rank, self.turn = rank, 0

    def gather(self, value: float) -> list[float]:
        self.turn += 1
        page = self.pages[self.turn % 2]
        page[self.rank, 0] = value
        page[self.rank, 1] = self.turn
        while (page[:, 1] < self.turn).any():
            time.sleep(1e-4)
        return page[:, 0].tolist()


class Stubborn(Several):
    """Each worker starts a process that is deaf to SIGTERM."""

    name = "stubborn"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        self.child = subprocess.Popen([sys.executable, "-c", DEAF], start_new_session=True)
        return super().trainer(graph, params, job)


class Hung(Several):
    """Rank 1 never joins, so rank 0 waits for it."""

    name = "hung"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        if trainer.rank == 1:
            time.sleep(600)
        trainer.gather = lambda value: time.sleep(600)
        return trainer


class Glutton(Slow):
    """Fills the disk of its folder."""

    name = "glutton"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        with Path("fat").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass


class Crashing(Slow):
    """Dies as C++ does that cannot allocate, when the model has been built."""

    name = "crashing"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr)
        os.abort()


class Nonsense(Slow):
    """Tells a version that is no text."""

    name = "nonsense"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        trainer.versions = lambda: {"nonsense": 3}
        return trainer


class Tuned(Slow):
    """As fast as it is told to be: op by op takes 1.5 times as long as compiled, NCHW 1.25 times as long as NHWC."""

    name = "tuned"
    executions = {"eager": "takes long", "compiled": "is quick"}
    layouts = ("NCHW", "NHWC")
    layout = "NCHW"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        from dlcompare.frameworks.reference.trainer import ReferenceTrainer

        layout = job.layout or self.layout
        seconds = STEP_SECONDS * {"eager": 1.5, "compiled": 1.0}[job.execution] * {"NCHW": 1.25, "NHWC": 1.0}[layout]

        class Trainer(ReferenceTrainer):
            def step(self, placed: Any, lr: float) -> None:
                time.sleep(seconds)
                super().step(placed, lr)

            def settings(self) -> Any:
                return {**super().settings(), "layout": layout, "execution": job.execution}

        return Trainer(graph, params, job, table=table_with_masks())


class Rival(Tuned):
    """Knows only the fast way."""

    name = "rival"
    executions = {"compiled": "is quick"}
    layouts = ()
    layout = "NHWC"


class Drifting(Slow):
    """Takes steps a hundred times as long as it is told."""

    name = "drifting"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        trainer = super().trainer(graph, params, job)
        step = trainer.step
        trainer.step = lambda placed, lr: step(placed, 100 * lr)
        return trainer


@hookimpl
def dlcompare_models() -> list[Model]:
    return [Model("speck", speck, INPUTS, task="classification", reference="the tests")]


@hookimpl
def dlcompare_backends() -> list[Reference]:
    return [Slow(), Several(), Lingering(), Stubborn(), Hung(), Glutton(), Crashing(), Nonsense(), Tuned(), Rival(),
            Drifting()]


if __name__ == "__main__":
    workers = [subprocess.Popen(sys.argv[2:], env={**os.environ, "SLOW_RANK": str(rank)}, start_new_session=True)
               for rank in range(int(sys.argv[1]))]
    sys.exit(max(abs(worker.wait()) for worker in workers))
