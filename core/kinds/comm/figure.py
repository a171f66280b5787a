"""Bus bandwidth against size, a line per engine, and where the messages of a training step lie on it, as PNG or SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.reports.sweeps.drawing import COLOURS, DASHES, MARKS, save

from .nccl import Foreign
from .result import CommRecord
from .sizes import fitted, words

MEGA = 1e6


def draw(records: Sequence[CommRecord], file: Path, others: Sequence[Foreign] = ()) -> None:
    """Draw a panel for each collective: bandwidth with the interval of its median, and messages as hollow marks.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    drawn = [record for record in records if record.best and not record.round]  # of rounds the first
    names = list(dict.fromkeys(record.collective for record in drawn)) or ["nothing measured"]
    engines = list(dict.fromkeys(record.name for record in drawn))
    canvas = Figure(figsize=(7, 0.6 + 3.6 * len(names)), layout="constrained")
    for axes, name in zip(canvas.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        for record in (one for one in drawn if one.collective == name):
            line(axes, record, style(engines.index(record.name)))
        for number, one in enumerate(other for other in others if other.collective == name):
            foreign(axes, one, style(len(engines) + number))
        label(axes, name, [one for one in drawn if one.collective == name])
    save(canvas, file)


def style(number: int) -> tuple[str, str, str]:
    """Return colour, marker and dash of a line; the colour-blind tell them by the last two."""
    return COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)], DASHES[number % len(DASHES)]


def line(axes: Any, record: CommRecord, style: tuple[str, str, str]) -> None:
    """Draw one engine: dots joined by lines, for sizes are an axis; hollow where a step's messages are."""
    colour, marker, dash = style
    points = sorted(record.best, key=lambda one: one.size)
    sizes = [one.size for one in points]
    rates = [one.figures.bus_bandwidth / MEGA for one in points if one.figures]
    bars = [[rate * (1 - one.figures.median / one.figures.high) for rate, one in zip(rates, points, strict=True)
             if one.figures],
            [rate * (one.figures.median / one.figures.low - 1) for rate, one in zip(rates, points, strict=True)
             if one.figures]]
    axes.errorbar(sizes, rates, yerr=bars, capsize=2, color=colour, linestyle=dash, linewidth=1.2, marker=marker,
                  markersize=4, label=record.name)
    by_size: Mapping[int, float] = {one.size: rate for one, rate in zip(points, rates, strict=True)}
    for messages in record.messages.values():
        seen = sorted({fitted(one.size, world=record.workers) for one in messages} & by_size.keys())
        axes.plot(seen, [by_size[size] for size in seen], linestyle="none", marker=marker, markersize=10,
                  markerfacecolor="none", markeredgecolor=colour)


def foreign(axes: Any, one: Foreign, style: tuple[str, str, str]) -> None:
    """Draw what nccl-tests measured, out of place."""
    colour, marker, dash = style
    rows = [row for row in one.rows if not row.in_place and row.bus_bandwidth]
    axes.plot([row.size for row in rows], [(row.bus_bandwidth or 0.0) / MEGA for row in rows], color=colour,
              marker=marker, linestyle=dash, linewidth=1.2, markersize=4, label=f"nccl-tests, {one.ranks} ranks")


def label(axes: Any, name: str, records: Sequence[CommRecord]) -> None:
    """Name the axes, and say what the marks mean."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda size, place: words(int(size)))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("size, bytes")
    axes.set_ylabel("bus bandwidth, MB/s")
    workers = " / ".join(dict.fromkeys(f"{record.workers} workers" for record in records))
    models = dict.fromkeys(model for record in records for model in record.messages)
    hollow = f"; hollow: messages of a step of {', '.join(models)}" if models else ""
    axes.set_title(f"{name}, {workers}, median and its 95 % interval{hollow}", fontsize=9, parse_math=False)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
