"""The roofline of this machine: measured roofs, published peaks dashed, training runs as points (log-log)."""

from __future__ import annotations

from pathlib import Path

from dlcompare.core.machine.measured import Measured


def draw(found: Measured, file: Path, points: str | None) -> None:
    """Draw the roofline into the file that was asked for."""


def check(file: Path) -> None:
    """Raise UsageError if a file cannot be drawn."""
