"""The paper's figure: throughput against batch size, a line per engine and precision, as PNG or SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlcompare.core.reports.sweeps.drawing import save

from .summary import Results, Speed, pixels, speeds, threads_of

STYLES = {"fp32": "-", "fp16": "--", "bf16": "-.", "int8": "-"}
MARKS = {"fp32": "o", "fp16": "s", "bf16": "^", "int8": "D"}


def draw(results: Results, file: Path) -> None:
    """Draw the throughput of every engine and precision against the batch size, intervals as bars.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    found = [one for one in speeds(results) if one.threads == threads_of(results)[-1]]
    lines = list(dict.fromkeys((one.engine, one.precision) for one in found))
    canvas = Figure(figsize=(7, 4.5), layout="constrained")
    axes = canvas.add_subplot()
    batches = sorted({*results.plan["batches"], *(one.batch for one in found)})
    for number, (name, precision) in enumerate(lines):
        line = {one.batch: one for one in found if (one.engine, one.precision) == (name, precision)}
        rates, bars = curve(line, batches)
        axes.errorbar(batches, rates, yerr=bars, capsize=3, linestyle=STYLES[precision], marker=MARKS[precision],
                      color=f"C{number}", markerfacecolor="white" if precision == "fp32" else None,
                      label=f"{name} {precision}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size, samples")
    axes.set_ylabel("throughput, samples/s")
    axes.set_title(f"{results.network['name']}{pixels(results.network)}, {threads_of(results)[-1]} thread(s) on "
                   f"{results.plan['device']}", parse_math=False)  # a network's name may hold $
    axes.grid(alpha=0.3)
    axes.legend()
    save(canvas, file)


def curve(line: Mapping[int, Speed], batches: Sequence[int]) -> tuple[list[float], list[list[float]]]:
    """Return throughputs and how far their intervals reach below and above; a batch that was not measured is a gap."""
    rates, below, above = [], [], []
    for batch in batches:
        one = line.get(batch)
        rate, low, high = (one.throughput, one.low, one.high) if one else (math.nan, None, None)
        rates.append(rate)
        below.append(rate - (rate if low is None else low))
        above.append((rate if high is None else high) - rate)
    return rates, [below, above]
