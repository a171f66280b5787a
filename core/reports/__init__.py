"""Ways of showing records: a function each, from records in plan order to text."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..record import Record


def _render(module: str, records: Sequence[Record]) -> str:
    text: str = importlib.import_module(f".{module}", __name__).render(records)
    return text


# A module is imported when it is used, so that the command line starts without any of them.
REPORTS: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "table": functools.partial(_render, "table"),
    "json": functools.partial(_render, "as_json"),
    "csv": functools.partial(_render, "as_csv"),
}
