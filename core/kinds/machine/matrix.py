"""The rate of matrix products that the frameworks installed here reach, asked of the kind that times operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcompare.core.machine.measured import Rate

if TYPE_CHECKING:
    from dlcompare.core.kinds.kind import Run

NONE = "none"


def rates(run: Run, wanted: str) -> tuple[tuple[Rate, ...], dict[str, str]]:
    """Return the rates, and why what is not among them is not."""
    return (), {"matrix": "not asked for"}
