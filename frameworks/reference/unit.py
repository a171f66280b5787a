"""What an op of the reference is: a forward and a backward on float64 arrays, the batch axis first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Gradients = tuple[tuple["Array | None", ...], dict[str, Array]]  # of the inputs in order, of the parameters by name


@dataclass(frozen=True)
class Call:
    """One application of an op: node name, attributes, input arrays, parameters by local name, and the mode."""

    name: str
    attrs: Mapping[str, Any]
    inputs: tuple[Array, ...]
    params: Mapping[str, Array]
    training: bool = True

    @property
    def x(self) -> Array:
        """The first input."""
        return self.inputs[0]


class Op(ABC):
    """Forward and backward of one op. To build a wrong one for a test, subclass it and put it in a copy of TABLE."""

    @abstractmethod
    def forward(self, call: Call) -> tuple[Any, Any]:
        """Return the result, a tuple of them where the op has several, and whatever ``backward`` needs of this pass."""

    @abstractmethod
    def backward(self, call: Call, saved: Any, grad: Any) -> Gradients:
        """Return the gradients in training mode, given that of the result, a tuple of them where there are several.

        None is for an input that has none.
        """

    def running(self, call: Call, saved: Any) -> dict[str, Array]:
        """Return the running statistics after this training pass, by local name."""
        return {}
