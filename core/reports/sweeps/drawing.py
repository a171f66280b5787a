"""What figures have in common: files they go to, colours that a framework keeps, dashes and marks, labels beside lines.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.registry import plugins

KINDS = (".png", ".svg")
# Okabe and Ito's colours, which the colour-blind tell apart too, but for yellow, which white paper hides.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"
DASHES = ("-", "--", "-.", ":")
MARKS = ("o", "s", "^", "D", "v", "P", "X")
GAP = 0.055  # of an axis' height: labels are no closer


def check(file: Path) -> None:
    """Raise UsageError if a file cannot be drawn, before anything has been measured: it is neither .png nor .svg, its
    folder does not exist, or matplotlib is not installed.
    """
    if file.suffix not in KINDS:
        raise UsageError(f"--plot draws {' or '.join(KINDS)} files, not {file.name!r}")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"--plot cannot write {file}: there is no folder {file.absolute().parent}; make it first")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib; install it with: pip install 'dlcompare[plots]'")


def attempt(draw: Callable[[], object]) -> str:
    """Draw; return why that cannot be done, "" if it can: no reason not to show what was measured."""
    try:
        draw()
    except UsageError as error:
        return str(error)
    return ""


def save(canvas: Any, file: Path) -> None:
    """Write a figure; UsageError if that cannot be done."""
    try:
        canvas.savefig(file, dpi=150)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}; name another file with --plot") from error


def colour(name: str) -> str:
    """Return the colour that a framework or engine has in every figure."""
    known = plugins()
    names = list(dict.fromkeys([*(one for one in known.backends() if one != ORACLE), *known.engines()]))
    return COLOURS[names.index(name) % len(COLOURS)] if name in names and name != ORACLE else GREY


def spread(places: Sequence[float], gap: float = GAP) -> list[float]:
    """Return places from 0 to 1 moved apart, in the same order, so that no two are closer than a gap."""
    order = sorted(range(len(places)), key=lambda one: places[one])
    moved = list(places)
    for before, one in itertools.pairwise(order):
        moved[one] = max(moved[one], moved[before] + gap)
    top = 1.0
    for one in reversed(order):
        moved[one] = min(moved[one], top)
        top = moved[one] - gap
    return moved


def label(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names beside the ends of lines, (x, y, name, colour) each, moved apart where lines end close together."""
    low, high = axes.get_ylim()
    places = spread([(y - low) / (high - low) for _, y, _, _ in ends])
    for (_, _, name, shade), place in zip(ends, places, strict=True):
        axes.annotate(name, (1.0, place), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
                      color=shade, va="center", fontsize=8, annotation_clip=False, parse_math=False)
