"""A look at a network's numbers before anything runs: with NaN among them every answer is wrong alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError

from .wiring import Wiring, name_of

if TYPE_CHECKING:
    import onnx

READ_FINITE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")  # elsewhere infinity may be a mask's


def check_numbers(model: onnx.ModelProto, path: object) -> None:
    """Raise UsageError if a constant holds NaN, or a layer's weight an infinity; the first is named."""
    import numpy as np

    wiring = Wiring.of(model)
    for name in wiring.constants:
        value = wiring.value(name)
        if value.dtype.kind != "f" or np.isfinite(value).all():
            continue
        nan = int(np.isnan(value).sum())
        layers = [name_of(node) for node in wiring.readers.get(name, ()) if node.op_type in READ_FINITE]
        if nan or layers:
            place = f", which {layers[0]!r} reads," if layers else ""
            raise UsageError(f"{str(path)!r} cannot be run: tensor {name!r}{place} holds {nan} NaN and "
                             f"{int(np.isinf(value).sum())} infinite values of {value.size}. The network diverged in "
                             "training, or was damaged since; give an earlier checkpoint")
