"""Operators by name, as published tables write them: ``matmul:2048`` and ``conv2d:256x224x224x3:7x7x3x64:2``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from dlcompare.core.errors import UsageError

from . import Input
from .alone import Layer, layer
from .cost import node_costs
from .model import Model
from .ops import Tensor

MATMUL = re.compile(r"matmul:(\d+)(?:x(\d+)x(\d+))?")
CONV = re.compile(r"conv2d:(\d+)x(\d+)x(\d+)x(\d+):(\d+)x(\d+)x(\d+)x(\d+):(\d+)(?::(\d+))?")
FORMS = ("matmul:N for two N x N matrices, matmul:MxKxN for M x K by K x N, or conv2d:BxHxWxC:HxWxCxF:STRIDE[:PAD] for "
         "a batch of B images under F filters")
QUICK = 1024  # of a matrix: a side that takes the float64 reference seconds
MOST = 1 << 24  # of any size, far above what a machine holds


@dataclass(frozen=True)
class Operator:
    """An operator that somebody named: a network of that one layer, and the batch that is part of what it is."""

    name: str
    batch: int
    model: Model

    @property
    def layer(self) -> Layer:
        """Return it as a layer alone."""
        graph = self.model.graph()
        return layer(graph, graph.nodes[1], multiply_adds=node_costs(graph)[graph.nodes[1].name].multiply_adds)


def is_operator(name: str) -> bool:
    """Return whether a name is meant as that of an operator."""
    return name.startswith(("matmul:", "conv2d:"))


def operator(name: str) -> Operator:
    """Return the operator of a name; UsageError with the forms that there are."""
    for form, make in ((MATMUL, matmul), (CONV, conv2d)):
        if found := form.fullmatch(name):
            sizes = [int(text) for text in found.groups() if text is not None]
            if not all(0 < size <= MOST for size in sizes[:8]):
                raise UsageError(f"operator {name!r}: sizes are whole numbers from 1 to {MOST}")
            return make(name, *sizes)
    raise UsageError(f"operator {name!r} is none that can be read; write {FORMS}")


def small(name: str) -> str:
    """Return an operator as the reference can run it in seconds: of a large matrix product, one with shorter sides."""
    found = MATMUL.fullmatch(name)
    if not found:
        return name
    return "matmul:" + "x".join(str(min(int(side), QUICK)) for side in found.groups() if side is not None)


def matmul(name: str, rows: int, inner: int | None = None, columns: int | None = None) -> Operator:
    """Return an M x K by K x N product: M is the batch."""
    build = partial(_dense, features=columns or rows)
    return Operator(name, rows, Model(name, build, {"x": Input((inner or rows,))}, "operator", "a matrix product"))


def conv2d(name: str, *sizes: int) -> Operator:
    """Return a convolution, sizes as the name has them; UsageError if the parts do not fit one another."""
    batch, height, width, channels, tall, wide, read, filters, stride, *pad = sizes
    if channels != read:
        raise UsageError(f"operator {name!r}: the images have {channels} channels, and the filters read {read}")
    build = partial(_conv, filters=filters, kernel=(tall, wide), stride=stride, pad=pad[0] if pad else 0)
    model = Model(name, build, {"image": Input((channels, height, width))}, "operator", "a convolution")
    try:
        model.graph()
    except ValueError as error:
        raise UsageError(f"operator {name!r}: {error}") from error
    return Operator(name, batch, model)


def _dense(x: Tensor, features: int) -> Mapping[str, Tensor]:
    y = x.layer_scale(name="before").dense(features, bias=False, name="layer")
    return {"y": y, "loss": y.mean_square(name="loss")}


def _conv(image: Tensor, filters: int, kernel: tuple[int, int], stride: int, pad: int) -> Mapping[str, Tensor]:
    y = image.layer_scale(name="before").conv(filters, kernel, stride, pad, bias=False, name="layer")
    return {"y": y, "loss": y.mean_square(name="loss")}
