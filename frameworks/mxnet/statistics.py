"""Running statistics that take the unbiased batch variance, of MXNet's kernel, which takes the biased one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dlcompare.core.graph import Graph


class Statistics:
    """The running means and variances of a graph.

    Over n values the unbiased variance is n / (n - 1) times the biased. The running variance is a weighted sum of such,
    so during training it is kept divided by that factor, and multiplied where it is used: what the kernel adds is right
    then, and a step costs nothing more.
    """

    def __init__(self, graph: Graph, parameters: Mapping[str, Any]) -> None:
        self.arrays = [parameters[name].data() for name, declared in graph.params().items() if not declared.trained]
        self.variances = [(parameters[node.param_name("running_var")].data(), node.rows * math.prod(node.shape[1:]))
                          for node in graph.nodes if "running_var" in node.params]
        self.rows = 0  # of the batch that the variances are divided for; 0: they are as they should be

    def divide_for(self, rows: int) -> None:
        """Be ready for steps on batches of so many rows, or for use if 0."""
        if rows != self.rows:
            for variance, pixels in self.variances:
                variance *= correction(self.rows * pixels) / correction(rows * pixels)
            self.rows = rows

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the variances as they should be until the end of the block."""
        rows = self.rows
        self.divide_for(0)
        yield
        self.divide_for(rows)

    @contextmanager
    def preserve(self) -> Iterator[None]:
        """Put all statistics back afterwards."""
        before = [array.copy() for array in self.arrays]
        yield
        for array, value in zip(self.arrays, before, strict=True):
            array[:] = value


def correction(count: int) -> float:
    """Return what turns the biased variance of so many values into the unbiased; of one there is none."""
    return count / (count - 1) if count > 1 else 1.0
