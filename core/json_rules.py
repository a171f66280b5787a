"""The few keywords of JSON Schema that dataclasses here carry as ``json_rules``, held against what was read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Rules = Mapping[str, Any]
TYPES: dict[str, Any] = {"null": type(None), "string": str, "object": Mapping, "array": (list, tuple),
                         "number": (int, float)}


def broken(rules: Rules, value: Any, *, what: str) -> Iterator[str]:
    """Yield in words what a value breaks of some rules; ``what`` it is called."""
    for keyword, wanted in rules.items():
        if keyword in PLAIN and (said := PLAIN[keyword](value, wanted)):
            yield f"{what} must be {said}, not {str(value)[:40]!r}"
    if isinstance(value, Mapping):
        for name, more in rules.get("properties", {}).items():
            if name in value:
                yield from broken(more, value[name], what=f"{what} {name}")
    if isinstance(value, Mapping) and isinstance(more := rules.get("additionalProperties"), Mapping):
        for name in value.keys() - rules.get("properties", {}).keys():
            yield from broken(more, value[name], what=f"{what} {name}")
    if isinstance(value, (list, tuple)) and "items" in rules:
        for item in value:
            yield from broken(rules["items"], item, what=what)
    if "if" in rules:
        then = "else" if any(broken(rules["if"], value, what=what)) else "then"
        yield from broken(rules.get(then, {}), value, what=what)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


PLAIN: dict[str, Callable[[Any, Any], str | None]] = {  # each returns what must be, None where it is so
    "minimum": lambda value, least: f"at least {least:g}" if is_number(value) and not value >= least else None,
    "exclusiveMinimum": lambda value, above: f"above {above:g}" if is_number(value) and not value > above else None,
    "minItems": lambda value, least: f"{least} or more values" if isinstance(value, (list, tuple))
    and len(value) < least else None,
    "minLength": lambda value, least: f"{least} or more letters" if isinstance(value, str)
    and len(value) < least else None,
    "enum": lambda value, known: None if value in known else f"one of {', '.join(map(str, known))}",
    "const": lambda value, one: None if value == one else f"{one}",
    "pattern": lambda value, form: f"of the form {form}" if isinstance(value, str)
    and not re.search(form, value) else None,
    "type": lambda value, name: None if isinstance(value, TYPES[name]) else f"of type {name}",
}
