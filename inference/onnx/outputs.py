"""Which output of a user's own network tells classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError, unknown

from .export import SMALL, without_initialisers
from .inputs import shape_of

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Output:
    """An output as far as it can be told: sizes of axes, None for open ones; ``shape`` None if nothing is known."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def scores(self) -> bool:
        """Return whether it is a float for each of some samples and of several classes: (N, C) or (N, C, 1, 1)."""
        return (self.dtype.startswith("float") and self.shape is not None and len(self.shape) >= 2
                and self.shape[1] != 1 and all(size == 1 for size in self.shape[2:]))

    def __str__(self) -> str:
        sizes = "of unknown shape" if self.shape is None else f"({', '.join(str(n or 'N') for n in self.shape)})"
        return f"{self.name!r} {self.dtype} {sizes}"


def class_scores(model: onnx.ModelProto, chosen: str | None = None) -> Output:
    """Return the output that holds a score for each class: the one that was chosen, or the only one that can be it.

    Raises:
        UsageError: there is no output of the chosen name, none is scores of classes, or several are.
    """
    found = outputs(model)
    if chosen:
        named(model, chosen)
    asked = [one for one in found if chosen in (None, one.name)]
    scores = [one for one in asked if one.scores] or [one for one in asked if one.shape is None]
    told = ", ".join(map(str, asked))
    if not scores:
        raise UsageError("top-1 needs scores of classes, floats of (N, classes) or (N, classes, 1, 1), but the network "
                         f"returns {told}. Give a network that ends before ArgMax or detection, or give its inputs "
                         "with --inputs (same answers and signal to noise need no labels), or add --no-accuracy")
    if len(scores) > 1:
        raise UsageError(f"several outputs may be scores of classes: {told}; choose one with --output NAME")
    return scores[0]


def named(model: onnx.ModelProto, name: str) -> str:
    """Return the name of an output; UsageError if there is none of that name."""
    names = [value.name for value in model.graph.output]
    if name not in names:
        raise unknown("output", name, names)
    return name


def outputs(model: onnx.ModelProto) -> list[Output]:
    """Return the outputs with the shapes that ONNX infers."""
    import onnx

    light = without_initialisers(model)
    for tensor in model.graph.initializer:  # only small ones hold shapes; of the others sizes are enough
        if tensor.ByteSize() <= 2 * SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    return [Output(value.name, str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                   shape_of(value) if value.type.tensor_type.HasField("shape") else None)
            for value in inferred.graph.output]
