"""What a user's own network reads: shapes, the batch, and the roles by which a dataset knows what to put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

if TYPE_CHECKING:
    import onnx

BEST = "export it with a dynamic batch axis alone, for example torch.onnx.export(..., dynamic_axes={'image': {0: 'N'}})"
FIX = "give the others their sizes with onnx.tools.update_model_dims.update_inputs_outputs_dims"
GIVE = "give values for every input with --inputs FILE.npz"
WHOLE = "state"  # the role of what is given as it is, whatever the batch: scalars, states of a recurrent network

Shapes = Mapping[str, tuple[int, ...]]


def batch(model: onnx.ModelProto) -> int | None:
    """Return the only batch size that the model takes; None if it takes any, or has no batch."""
    firsts = [shape[0] for shape in shapes(model).values() if shape]
    return None if None in firsts else next(iter(firsts), None)


def whole(model: onnx.ModelProto) -> list[str]:
    """Return the inputs that have no batch axis: no axes at all, or a first one of another size than the batch."""
    size = batch(model)
    return [name for name, shape in shapes(model).items() if not shape or shape[0] != size]


def declared_inputs(model: onnx.ModelProto, given: Shapes | None = None) -> dict[str, Input]:
    """Return what the model reads, shapes without the batch axis, and roles told from types, names and lookups.

    ``given`` are the shapes of arrays that a user has for the inputs: they settle open axes, and any type is then
    taken. :func:`batch` says whether the batch is fixed.

    Raises:
        UsageError: without ``given`` an input has no batch axis, a type is neither float32 nor int64, or an axis other
            than the batch is not fixed; with it an array is missing, or does not fit.
    """
    if given is not None:
        return fitted(model, given)
    if states := whole(model):
        raise UsageError(f"input {states[0]!r} has shape {shapes(model)[states[0]]}: a scalar or a state, no samples "
                         f"of a batch, so no dataset can fill it; {GIVE}, or {BEST}")
    declared = {}
    for name, shape in shapes(model).items():
        kind = dtype_of(model, name)
        if kind not in ("float32", "int64"):
            raise UsageError(f"input {name!r} is {kind}; a dataset gives float32 or int64. Export the network with "
                             f"such an input, or {GIVE}; its precision is chosen by --precision")
        fixed = tuple(size for size in shape[1:] if size)
        if len(fixed) != len(shape) - 1:
            raise UsageError(f"input {name!r} has shape {shape}: only the first axis, the batch, may be open; {FIX}, "
                             f"or {BEST}, or {GIVE}")
        declared[name] = with_role(model, name, fixed, kind)
    return declared


def fitted(model: onnx.ModelProto, given: Shapes) -> dict[str, Input]:
    """Return what the model reads in the shapes of a user's arrays; UsageError if one is missing or does not fit."""
    wanted, states, declared = shapes(model), whole(model), {}
    if missing := sorted(set(wanted) - set(given)):
        raise UsageError(f"--inputs holds no array {missing[0]!r}; the network reads {', '.join(sorted(wanted))}, and "
                         f"there is: {', '.join(sorted(given)) or 'none'}")
    for name, shape in wanted.items():
        own = given[name] if name in states else given[name][1:]
        axes = shape if name in states else shape[1:]
        if (name not in states and not given[name]) or len(own) != len(axes) or any(
                size and size != found for size, found in zip(axes, own, strict=True)):
            raise UsageError(f"--inputs holds {name!r} as {given[name]}, but the network reads {shape}, None for any "
                             f"size{'' if name in states else ', the first axis the samples'}")
        declared[name] = Input(own, dtype_of(model, name), WHOLE if name in states else "given")
    return declared


def dtype_of(model: onnx.ModelProto, name: str) -> str:
    """Return NumPy's name of an input's type."""
    from onnx import helper

    kind = next(one.type.tensor_type.elem_type for one in model.graph.input if one.name == name)
    return str(helper.tensor_dtype_to_np_dtype(kind))


def with_role(model: onnx.ModelProto, name: str, shape: tuple[int, ...], dtype: str) -> Input:
    """Return the input with its role; an integer's bound is the length of the table that it looks rows up in."""
    if dtype == "float32":
        return Input(shape)
    if "mask" in name.lower():
        return Input(shape, dtype, "mask", 2)
    rows = {t.name: t.dims[0] for t in model.graph.initializer if t.dims}
    looked = [rows[n.input[0]] for n in model.graph.node
              if n.op_type == "Gather" and n.input[1] == name and n.input[0] in rows]
    role = "segment" if any(word in name.lower() for word in ("segment", "type")) else "ids"
    return Input(shape, dtype, role, min(looked, default=None))


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """Return the shape of each input, batch axis included; None where an axis is open."""
    held = {tensor.name for tensor in model.graph.initializer}  # older files list initialisers among the inputs
    return {value.name: shape_of(value) for value in model.graph.input if value.name not in held}


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return the sizes of axes; None for an open one, which some exporters write as 0 or -1."""
    return tuple(axis.dim_value if axis.dim_value > 0 else None for axis in value.type.tensor_type.shape.dim)
