"""The table: neutral op -> native Keras layers.

Convention: a tensor with three axes besides the batch is stored channels last, (H, W, C), because that is what
TensorFlow's CPU kernels and tensor cores want; every other tensor is stored as the neutral graph has it. Where Keras
offers no layer of exactly the meaning, a small layer over the same kernel stands in, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

from ...core.graph import Graph, Node, Shape

Policy = Any  # tf.keras.mixed_precision.Policy
KerasTensor = Any
Variables = dict[str, Any]  # a node's parameters by local name
Builder = Callable[["Site", KerasTensor], "tuple[KerasTensor, Variables]"]

TO_NATIVE: dict[int, tuple[int, ...]] = {4: (2, 3, 1, 0), 2: (1, 0)}  # OIHW -> HWIO, (out, in) -> (in, out)


@dataclass(frozen=True)
class Weight:
    """One parameter as TensorFlow holds it; ``axes`` is the transposition from the neutral layout, if any."""

    variable: Any
    axes: tuple[int, ...] | None

    def load(self, array: np.ndarray) -> None:
        """Set the parameter from its neutral layout; ValueError if the shape does not fit."""
        self.variable.assign(array if self.axes is None else array.transpose(self.axes))

    def neutral(self, native: Any) -> np.ndarray:
        """Return a value or gradient of this parameter in float32 and the neutral layout, in memory of its own."""
        array = np.asarray(native, np.float32)
        return array.copy() if self.axes is None else np.ascontiguousarray(array.transpose(np.argsort(self.axes)))


@dataclass(frozen=True)
class Site:
    """Where a layer is built: its node, the neutral shapes of the node's inputs, and the precision policy."""

    node: Node
    shapes: tuple[Shape, ...]
    policy: Policy

    def __getattr__(self, name: str) -> Any:
        return self.node.attrs[name]

    def kwargs(self) -> dict[str, Any]:
        return {"name": self.node.name, "dtype": self.policy}

    def keep(self, **variables: Any) -> Variables:
        return {k: v for k, v in variables.items() if k in self.node.params}
