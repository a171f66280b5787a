"""Dataclasses as JSON and back, nested ones too; an unknown or missing key is an error that lists the known ones."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .errors import UsageError, unknown
from .files import finite
from .json_rules import broken

T = TypeVar("T")
SCALARS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}


def to_plain(value: Any) -> Any:
    """Return a dataclass as JSON can hold it: tuples as lists, and None for every number that is not finite."""
    return finite(dataclasses.asdict(value))


def from_plain(cls: type[T], data: Any, *, what: str) -> T:
    """Return the dataclass that :func:`to_plain` was given; ``what`` is its name in messages.

    Raises:
        UsageError: an unknown key, a missing one, a value of another type, or one that the class's rules forbid.
    """
    if not isinstance(data, Mapping):
        raise UsageError(f"a {what} must be an object, and this is {str(data)[:40]!r}")
    known = {spec.name: spec for spec in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise unknown(f"{what} key", str(key), known)
    if lacking := [name for name, spec in known.items() if name not in data and required(spec)]:
        raise UsageError(f"a {what} must have {', '.join(lacking)}; this one does not")
    for rules in rules_of(typing.cast("Any", cls)):
        for wrong in broken(rules, data, what=what):
            raise UsageError(wrong)
    wanted = types_of(typing.cast("Any", cls))
    return cls(**{key: read(wanted[key], value, what=f"{what} {key}") for key, value in data.items()})


def required(spec: dataclasses.Field[Any]) -> bool:
    """Return whether a field has no default."""
    return spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING


@functools.cache
def types_of(cls: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields, names resolved."""
    hints = typing.get_type_hints(cls)
    return {spec.name: hints[spec.name] for spec in dataclasses.fields(cls)}


@functools.cache
def rules_of(cls: Any) -> list[dict[str, Any]]:
    """Return what the types of a dataclass's fields do not say, such as a least value, those it stands on first."""
    return [vars(one)["json_rules"] for one in reversed(cls.__mro__) if "json_rules" in vars(one)]


def is_scalar(wanted: Any) -> bool:
    """Return whether a type is of single values, None among them."""
    union = typing.get_origin(wanted) in (typing.Union, types.UnionType)
    return all(one in SCALARS or one is type(None) for one in (typing.get_args(wanted) if union else (wanted,)))


def read(wanted: Any, value: Any, *, what: str) -> Any:
    """Return a value of JSON as the type says; UsageError if it cannot be one."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else read(next(one for one in inner if one is not type(None)), value, what=what)
    if dataclasses.is_dataclass(wanted):
        return from_plain(typing.cast("type[Any]", wanted), value, what=what)
    if origin in (tuple, list, Sequence) and isinstance(value, (list, tuple)):
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else (inner[0],) * len(value)
        if len(kinds) != len(value):
            raise UsageError(f"{what} must hold {len(kinds)} values, not {len(value)}")
        items = [read(kind, item, what=what) for kind, item in zip(kinds, value, strict=True)]
        return items if origin is list else tuple(items)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: read(inner[1], item, what=what) for key, item in value.items()}
    if wanted is float and (value is None or (isinstance(value, int) and not isinstance(value, bool))):
        return math.nan if value is None else float(value)  # NaN and the infinities were written as null
    fits = wanted in (*SCALARS, dict) and isinstance(value, wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):  # True is an int to Python
        raise UsageError(f"{what} must be of type {getattr(wanted, '__name__', wanted)}, not {str(value)[:40]!r}")
    return value


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass; every number may be null where it was not finite.

    What its types do not say, such as a least value, is in the ``json_rules`` of its class and those it stands on.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__,
            "description": (cls.__doc__ or "").split("\n\n")[0], **schema_of(cls)}


def schema_of(wanted: Any) -> dict[str, Any]:
    """Return the part of a JSON Schema that a type amounts to."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"}, *(schema_of(one) for one in inner if one is not type(None))]}
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        fields = types_of(wanted)
        rules = rules_of(wanted)
        return {"type": "object", "additionalProperties": False, "required": list(fields),
                "properties": {name: schema_of(kind) for name, kind in fields.items()},
                **({"allOf": rules} if rules else {})}
    if origin in (tuple, list, Sequence):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    if wanted is float:
        return {"type": ["number", "null"]}
    return {"type": SCALARS[wanted]} if wanted in SCALARS else {}
