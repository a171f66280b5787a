"""A figure that is asked for together with what is to be measured: whether it can be drawn, and drawn when all has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlcompare.core.errors import UsageError
from dlcompare.core.plan.plan import Plan
from dlcompare.core.records.record import Record

from . import figure
from .drawing import attempt, check


def to_draw(plot: str | None, plan: Plan) -> Path | None:
    """Return the file that a plan is to be drawn in, None for none; UsageError, before it starts, if that cannot be."""
    if plot is None:
        return None
    check(Path(plot))
    if not plan.points:
        raise UsageError("--plot draws a sweep; give a setting several values, as in --batch 8,16,32 or --threads 1,2")
    return Path(plot)


def draw(records: Sequence[Record], file: Path | None) -> str:
    """Draw a sweep if a file was asked for; return why that cannot be done, "" if it is: what was measured is shown all
    the same.
    """
    return attempt(lambda: figure.draw(records, file)) if file else ""
