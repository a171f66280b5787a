"""Dropout for the tests' backends, since the reference draws no masks. Who is only asked loads no NumPy, hence late."""

from __future__ import annotations

from typing import Any


class Masks:
    """An op of the reference's that draws a mask for each pass in training."""

    def __init__(self, seed: int) -> None:
        import numpy as np

        self.rng = np.random.default_rng(seed)

    def draw(self, call: Any) -> Any:
        return self.rng.random(call.x.shape) >= call.attrs["rate"]

    def scale(self, call: Any) -> float:
        return 1 / (1 - call.attrs["rate"])

    def forward(self, call: Any) -> tuple[Any, Any]:
        kept = self.draw(call) * self.scale(call) if call.training else 1.0
        return call.x * kept, kept

    def backward(self, call: Any, saved: Any, grad: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (grad * saved,), {}

    def running(self, call: Any, saved: Any) -> dict[str, Any]:
        return {}
