"""Ways of showing records: a function each, from records in plan order to text."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlcompare.core.judging.attribution import Explanation
    from dlcompare.core.judging.verdict import Comparison
    from dlcompare.core.records.record import Record


def _render(module: str, records: Sequence[Record]) -> str:
    text: str = importlib.import_module(f".{module}", __name__).render(records)
    return text


# A module is imported when it is used, so that the command line starts without any of them.
REPORTS: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "table": functools.partial(_render, "table"),
    "json": functools.partial(_render, "record_json"),
    "csv": functools.partial(_render, "record_csv"),
}


def comparison(form: str, comparisons: Sequence[Comparison], explanation: Explanation | str | None = None) -> str:
    """Return comparisons in one of the forms, as :data:`REPORTS` does records that are not judged."""
    module, function = {"table": ("verdicts", "render"), "json": ("verdicts_data", "as_json"),
                        "csv": ("verdicts_data", "as_csv")}[form]
    text: str = getattr(importlib.import_module(f".{module}", __name__), function)(comparisons, explanation)
    return text
