"""Ways of showing records: a function each, from records in plan order to text."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..record import Record
    from ..verdict import Comparison
    from ..waterfall import Explanation


def _render(module: str, records: Sequence[Record]) -> str:
    text: str = importlib.import_module(f".{module}", __name__).render(records)
    return text


# A module is imported when it is used, so that the command line starts without any of them.
REPORTS: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "table": functools.partial(_render, "table"),
    "json": functools.partial(_render, "as_json"),
    "csv": functools.partial(_render, "as_csv"),
}


def comparison(form: str, comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return comparisons in one of the forms, as :data:`REPORTS` does records that are not judged."""
    module, function = {"table": ("compared", "render"), "json": ("compared_data", "as_json"),
                        "csv": ("compared_data", "as_csv")}[form]
    text: str = getattr(importlib.import_module(f".{module}", __name__), function)(comparisons, explanation)
    return text
