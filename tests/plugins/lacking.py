"""Backends for which single cases go wrong: what verification passes over, what it refuses, what ends it."""

from __future__ import annotations

import os
from typing import Any

from slow import Board, Slow, table_with_masks

from dlcompare.core import hookimpl
from dlcompare.core.errors import JobError
from dlcompare.frameworks.reference import Reference


class Lacking(Slow):
    """Has no GELU in its table."""

    name = "lacking"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        from dlcompare.frameworks.reference.trainer import ReferenceTrainer

        if any(node.op == "gelu" for node in graph.nodes):
            raise KeyError("gelu")
        return ReferenceTrainer(graph, params, job, table=table_with_masks())


class LackingInPairs(Lacking):
    """Two processes that share times but no gradients; both lack GELU, and in rank 1 alone a step without ReLU fails.
    """

    name = "lacking-in-pairs"
    board = None

    def command(self, job: Any, python: str) -> list[str]:
        return [python, "-m", "slow", str(job.workers), python]

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        rank = int(os.environ["SLOW_RANK"])
        trainer = super().trainer(graph, params, job)
        self.board = self.board or Board(rank, job.workers)
        trainer.rank, trainer.world, trainer.gather = rank, job.workers, self.board.gather
        if rank == 1 and graph.name == "tanh":
            trainer.params = self.fail
        return trainer

    def fail(self) -> Any:
        raise RuntimeError("rank 1 cannot")


class Silent(Lacking):
    """Tells nothing of what it is, and never drops."""

    name = "silent"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        from broken_dropout import NeverDrops

        trainer = super().trainer(graph, params, job)
        trainer.table = {**trainer.table, "dropout": NeverDrops(0)}
        trainer.settings = trainer.versions = dict
        return trainer


class Absent(Slow):
    """Finds its accelerator gone when it has shown a case."""

    name = "gone"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        if graph.name != "relu":
            raise JobError("the device is gone")
        return super().trainer(graph, params, job)


@hookimpl
def dlcompare_backends() -> list[Reference]:
    return [Lacking(), LackingInPairs(), Silent(), Absent()]
