"""A train step compiled for devices that need not be here, and what the compiler says of it."""

from __future__ import annotations

from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.kinds.kind import Kind


class Compilation(Kind):
    """A train step compiled ahead of time, with memory, cost, collectives, and a bound from published peaks."""

    name = "compilation"
    title = "a train step compiled for devices that need not be here"
    selected_by = ("compile_only", "topology")
    repeats = False
    forms = ("table", "json")

    def results(self, job: Any) -> int:
        return 1


@hookimpl
def dlcompare_kinds() -> list[Kind]:
    return [Compilation()]
