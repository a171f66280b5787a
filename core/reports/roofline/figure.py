"""The roofline of this machine: measured roofs, published peaks dashed, training runs as points (log-log)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.machine.measured import MATRIX, REMEDY, Measured, Rate
from dlcompare.core.machine.peaks import peak_flops
from dlcompare.core.reports.sweeps.drawing import COLOURS, DASHES, GREY, MARKS, colour, save

from .shares import percent, share

REACH = (0.25, 4096.0)  # FLOP for each byte, from left to right; more where a point lies beyond
GIGA = 1e9


def draw(found: Measured, file: Path, points: Sequence[Any]) -> None:
    """Draw the roofs of each device and precision, and records as points; UsageError if there is nothing to draw.

    Roofs are of all threads of the processor, or of one GPU.
    """
    from matplotlib.figure import Figure

    roofs = roofs_of(found)
    if not roofs:
        raise UsageError(f"no roof is known: matrix products or memory were not measured; measure with: {REMEDY} "
                         "--again")
    canvas = Figure(figsize=(8, 5), layout="constrained")
    axes = canvas.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    reach = REACH[0], max([REACH[1], *(2 * one.bounds.intensity for one in points)])
    for number, (peak, bandwidth) in enumerate(roofs):
        roof(axes, peak, bandwidth, reach, number)
    vendor(axes, found, reach)
    for number, one in enumerate(points):
        mark(axes, one, number)
    axes.set_xlabel("FLOP for each byte that must be moved")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"Roofline of {found.fingerprint['cpu']['model']}, measured {found.measured[:10]}",
                   parse_math=False)
    axes.grid(alpha=0.3, which="both")
    if points:
        axes.legend(fontsize=7, loc="lower right")
    save(canvas, file)


def roofs_of(found: Measured) -> list[tuple[Rate, Rate]]:
    """Return the peak of each device and precision with the bandwidth of its memory, highest first."""
    names = dict.fromkeys((one.device, one.name) for one in found.rates if one.what == MATRIX)
    pairs = [(found.peak_flops(device, name), found.memory_bandwidth(device=device)) for device, name in names]
    known = [(peak, bandwidth) for peak, bandwidth in pairs if peak and bandwidth]
    return sorted(known, key=lambda pair: -pair[0].value)


def roof(axes: Any, peak: Rate, bandwidth: Rate, reach: tuple[float, float], number: int) -> None:
    """Draw one roof: memory's slope up to the ridge, then the matrix units' level, with the interval shaded."""
    shade, ridge = COLOURS[number % len(COLOURS)], peak.value / bandwidth.value
    along = [reach[0], ridge, reach[1]]
    axes.plot(along, [min(x * bandwidth.value, peak.value) / GIGA for x in along], color=shade,
              linestyle=DASHES[number % 2 * 3])
    if peak.low and peak.high:
        axes.fill_between([ridge, reach[1]], peak.low / GIGA, peak.high / GIGA, color=shade, alpha=0.15, linewidth=0)
    threads = f", {peak.threads} threads" if peak.threads else ""
    axes.annotate(f"{peak.device} {peak.name}{threads}: {peak.value / GIGA:,.4g} GFLOP/s ({peak.by}); memory "
                  f"{bandwidth.value / GIGA:.3g} GB/s", (reach[1], peak.value / GIGA), xytext=(0, 3), ha="right",
                  textcoords="offset points", color=shade, fontsize=8, parse_math=False)


def vendor(axes: Any, found: Measured, reach: tuple[float, float]) -> None:
    """Draw published peaks of these devices, dashed, where there are any."""
    for device in dict.fromkeys(one.device for one in found.rates if one.what == MATRIX):
        level = peak_flops(found.fingerprint, device, "fp32", devices=1)
        if level:
            axes.plot(reach, [level / GIGA] * 2, color=GREY, linestyle="--", linewidth=1)
            axes.annotate(f"{device}: published peak", (reach[0], level / GIGA), xytext=(2, 3), fontsize=8,
                          textcoords="offset points", color=GREY)


def mark(axes: Any, record: Any, number: int) -> None:
    """Draw a record where its intensity and its rate of arithmetic lie."""
    axes.plot([record.bounds.intensity], [record.flops_per_second / record.bounds.devices / GIGA],
              MARKS[number % len(MARKS)], color=colour(record.framework), markeredgecolor="white", linestyle="none",
              label=f"{record.name} {record.model}, {record.conditions}: {percent(share(record))} of peak".replace(
                  "$", "\\$"))
