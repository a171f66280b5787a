"""Dataclasses there and back: what does not fit is an error that says what would."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jsonschema
import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.typed_json import from_plain, is_scalar, json_schema, to_plain


@dataclass(frozen=True)
class Point:
    """A point."""

    x: float
    label: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two that belong together."""

    both: tuple[int, str]


@dataclass(frozen=True)
class Shape:
    """A shape.

    More of it.
    """

    points: tuple[Point, ...]
    count: int
    closed: bool = False
    area: float | None = None
    centre: Point | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    words: Sequence[str] = ()
    sides: ClassVar[int] = 3
    json_rules: ClassVar[dict[str, Any]] = {"properties": {"count": {"minimum": 1}}}


WHOLE = Shape((Point(1.0, "a"), Point(2.0)), 2, True, 1.5, Point(0.0), {"deep": {"er": [1, None]}}, ("one", "two"))
PLAIN = to_plain(WHOLE)


def read(**changes: Any) -> Shape:
    return from_plain(Shape, {**PLAIN, **changes}, what="shape")


def test_there_and_back() -> None:
    assert from_plain(Shape, json.loads(json.dumps(PLAIN)), what="shape") == WHOLE
    assert read(points=[], centre=None, area=None) == dataclasses.replace(WHOLE, points=(), centre=None, area=None)
    assert from_plain(Shape, {"points": [], "count": 1}, what="shape") == Shape((), 1), "what has a default may lack"
    assert "sides" not in PLAIN and "json_rules" not in PLAIN


def test_numbers_that_are_not_finite_become_null_and_nan_again() -> None:
    plain = to_plain(Shape((Point(math.nan), Point(math.inf)), 2, area=-math.inf, notes={"deep": [math.nan]}))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert [point["x"] for point in plain["points"]] == [None, None] and plain["notes"] == {"deep": [None]}
    found = from_plain(Shape, plain, what="shape")
    assert all(math.isnan(point.x) for point in found.points)
    assert found.area is None, "where there may be no number, null is none"


@pytest.mark.parametrize(("changes", "words"), [
    ({"pionts": []}, r"unknown shape key 'pionts'; there is: .*points.*Did you mean 'points'\?"),
    ({"points": [{"y": 1}]}, r"unknown shape points key 'y'; there is: label, x"),
    ({"points": [{"label": "a"}]}, "a shape points must have x; this one does not"),
    ({"points": 3}, "shape points must be of type .*not '3'"),
    ({"points": [3]}, "a shape points must be an object, and this is '3'"),
    ({"count": "2"}, "shape count must be of type int, not '2'"),
    ({"count": 2.5}, "shape count must be of type int, not '2.5'"),
    ({"count": None}, "shape count must be of type int, not 'None'"),
    ({"closed": 1}, "shape closed must be of type bool, not '1'"),
    ({"area": "large"}, "shape area must be of type float, not 'large'"),
    ({"area": True}, "shape area must be of type float, not 'True'"),
    ({"count": True}, "shape count must be of type int, not 'True'"),
    ({"notes": []}, "shape notes must be of type .*not"),
    ({"words": "one"}, "shape words must be of type .*not 'one'"),
    ({"words": [1]}, "shape words must be of type str, not '1'"),
])
def test_what_does_not_fit_is_named_with_what_would(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(**changes)


def test_a_missing_key_and_what_is_no_object_are_errors() -> None:
    with pytest.raises(UsageError, match="a shape must have points, count; this one does not"):
        from_plain(Shape, {}, what="shape")
    with pytest.raises(UsageError, match=r"a shape must be an object, and this is '\[1, 2\]'"):
        from_plain(Shape, [1, 2], what="shape")


def test_whole_numbers_are_numbers() -> None:
    found = read(area=2)
    assert isinstance(found.area, float) and found.area == 2.0


def test_a_tuple_of_fixed_length_keeps_it() -> None:
    assert from_plain(Pair, {"both": [1, "a"]}, what="pair") == Pair((1, "a"))
    with pytest.raises(UsageError, match="pair both must hold 2 values, not 3"):
        from_plain(Pair, {"both": [1, "a", 2]}, what="pair")


def test_the_schema_says_the_same() -> None:
    schema = json_schema(Shape)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["title"], schema["description"]) == ("Shape", "A shape.")
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(PLAIN)
    validator.validate(to_plain(Shape((Point(math.nan),), 1)))
    for change in ({"surplus": 1}, {"count": 0}, {"count": "2"}, {"points": [{"x": 1}]}, {"closed": None},
                   {"centre": {"x": "far", "label": None}}):
        assert not validator.is_valid({**PLAIN, **change}), change
    assert not validator.is_valid({name: value for name, value in PLAIN.items() if name != "count"})


def test_what_is_a_single_value() -> None:
    found = {name for name, wanted in {"int": int, "str | None": str | None, "tuple": tuple[int, ...],
                                       "dict": dict[str, str], "Point": Point, "Any": Any,
                                       "Point | None": Point | None}.items() if is_scalar(wanted)}
    assert found == {"int", "str | None"}
