"""A figure for each axis of a sweep: throughput, speed-up against the ideal, energy and power; SVG or PNG.

Lines join only what lies on an axis of numbers; precisions and other words are dots. Throughput begins at 0, numbers
are spaced by doublings, and what a bar or a dot means stands below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.pairs import rate
from dlcompare.core.judging.verdict import machine
from dlcompare.core.machine.memory import perhaps_for_want_of_memory
from dlcompare.core.records.disturbance import windows_that_count
from dlcompare.core.records.record import Record

from .cells import THREADS, WORKERS, Cell, Line, axes, cells, lines
from .drawing import DASHES, MARKS, colour, label, save

SCALING = (WORKERS, THREADS)
RELATED = (*SCALING, "precision", "execution")  # where times the first value mean something
MOST_BESIDE = 3  # panels
DODGE = 0.1  # of a doubling: how far points at one value are moved apart in all
FEW = 20  # windows or rounds, up to which each is drawn too
Value = tuple[float, float | None, float | None]  # with its interval
Of = Callable[[Line, Any], Value | None]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: what it shows of a cell, and how that is called."""

    title: str
    of: Of
    ideal: bool = False
    dots: bool = False


def draw(records: Sequence[Record], file: Path) -> list[Path]:
    """Draw a figure for each setting of which there are several values; return the files, named after them if several.

    Raises:
        UsageError: nothing was swept, nothing ran, or a file cannot be written.
    """
    found = cells(records)
    swept = [name for name, values in axes(found).items() if len(values) > 1]
    if not swept:
        raise UsageError("--plot draws a sweep, and nothing was swept; give a setting several values, as in --batch "
                         "8,16,32")
    if not any(cell.side.throughput for cell in found):
        raise UsageError("--plot has nothing to draw: no cell of the sweep has a number")
    files = [file if len(swept) == 1 else file.with_stem(f"{file.stem}-{axis.replace('_', '-')}") for axis in swept]
    for axis, one in zip(swept, files, strict=True):
        save(figure(found, axis), one)
    return files


def figure(found: Sequence[Cell], axis: str) -> Any:
    """Return the figure of one axis."""
    from matplotlib.figure import Figure

    found = [cell for cell in found if axis in cell.point]
    drawn, panels = lines(found, axis), list(panels_of(found, axis))
    down, places = -(-len(panels) // MOST_BESIDE), positions(found, axis)
    beside = -(-len(panels) // down)
    canvas = Figure(figsize=(5.2 * beside + 1.4, 4.4 * down + 0.4), layout="constrained")
    plots = list(canvas.subplots(down, beside, squeeze=False).flat)
    for panel, plot in zip(panels, plots, strict=False):
        draw_panel(plot, panel, drawn, places, axis)
    for plot in plots[len(panels):]:
        plot.remove()
    canvas.suptitle(f"{', '.join(dict.fromkeys(one.record.model for one in found))}{pixels(found, axis)}, by "
                    f"{axis.replace('_', ' ')}", parse_math=False)
    canvas.supxlabel(caption(found), fontsize=7, color="#444444", parse_math=False)
    return canvas


def panels_of(found: Sequence[Cell], axis: str) -> Iterator[Panel]:
    """Yield what is shown along an axis."""
    record = found[0].record
    yield Panel(record.shown[1], throughput, dots=True)
    if axis in RELATED:
        first = axes(found)[axis][0]
        yield Panel(f"speed-up over {axis} {first}", relative, ideal=axis in SCALING and record.scales)
    for scope in dict.fromkeys(scope for cell in found for scope in cell.energy()):
        yield Panel(f"J/{record.sample}, {scope}", energy(scope))
        yield Panel(f"W, {scope}", power(scope))


def throughput(line: Line, value: Any) -> Value | None:
    side, (scale, _) = line.cells[value].side, line.cells[value].record.shown
    low, high = (None if one is None else one / scale for one in side.interval)
    return (side.throughput / scale, low, high) if side.throughput else None


def relative(line: Line, value: Any) -> Value | None:
    over = line.over_first(value)
    return (over, *line.interval_over_first(value)) if over else None


def energy(scope: str) -> Of:
    def of(line: Line, value: Any) -> Value | None:
        spent = line.cells[value].energy().get(scope)
        return (spent.per_sample, spent.low, spent.high) if spent else None

    return of


def power(scope: str) -> Of:
    def of(line: Line, value: Any) -> Value | None:
        spent = line.cells[value].energy().get(scope)
        return (spent.watts, None, None) if spent else None

    return of


def positions(found: Sequence[Cell], axis: str) -> dict[Any, float] | None:
    """Return where words stand on the axis; None if all of its values are numbers, which stand where they are."""
    values = axes(found)[axis]
    if all(isinstance(cell.at(axis), int) for cell in found):
        return None
    return {value: float(place) for place, value in enumerate(values)}


def draw_panel(plot: Any, panel: Panel, drawn: Sequence[Line], places: Mapping[Any, float] | None, axis: str) -> None:
    """Draw every line of one panel."""
    ends = []
    for number, line in enumerate(drawn):
        shade, points = colour(line.name.partition(":")[0]), []
        shift = (number + 0.5) / len(drawn) - 0.5  # so that bars at one value can be told apart
        for value, cell in line.cells.items():
            x = cell.at(axis) * 2 ** (DODGE * shift) if places is None else places[value] + 0.5 * shift
            if shown := panel.of(line, value):
                points.append((x, *shown))
                if panel.dots:
                    every = singles(cell)
                    plot.plot([x] * len(every), every, ".", color=shade, alpha=0.3, markersize=4)
            elif ran_out(cell):
                plot.plot([x], [0.02], marker="x", color=shade, transform=plot.get_xaxis_transform(), clip_on=False)
        if points:
            draw_line(plot, sorted(points), shade, number, joined=places is None)
            x, y, *_ = max(points)
            ends.append((x, y, line.text, shade))
    if panel.ideal and places is None:
        ideal(plot, drawn, axis)
    dress(plot, panel, drawn, places, axis)
    label(plot, ends)


def draw_line(plot: Any, points: Sequence[tuple[float, float, float | None, float | None]], shade: str, number: int, *,
              joined: bool) -> None:
    """Draw the points of one line with their intervals."""
    xs, ys, lows, highs = zip(*points, strict=True)
    bars = [[max(0.0, y - (y if low is None else low)) for y, low in zip(ys, lows, strict=True)],
            [max(0.0, (y if high is None else high) - y) for y, high in zip(ys, highs, strict=True)]]
    plot.errorbar(xs, ys, yerr=bars, capsize=3, color=shade, marker=MARKS[number % len(MARKS)],
                  linestyle=DASHES[number % len(DASHES)] if joined else "none", linewidth=1.4, markersize=5)


def ideal(plot: Any, drawn: Sequence[Line], axis: str) -> None:
    """Draw what as many times the threads or workers would give."""
    values = sorted({cell.at(axis) for line in drawn for cell in line.cells.values()})
    plot.plot(values, [value / values[0] for value in values], color="#999999", linewidth=1, zorder=0)
    plot.annotate("ideal", (values[-1], values[-1] / values[0]), color="#777777", fontsize=8, ha="right", va="bottom")


def dress(plot: Any, panel: Panel, drawn: Sequence[Line], places: Mapping[Any, float] | None, axis: str) -> None:
    """Give a panel its scales, ticks and names."""
    if places is None:
        values = sorted({cell.at(axis) for line in drawn for cell in line.cells.values()})
        plot.set_xscale("log", base=2)
        plot.set_xticks(values, [str(value) for value in values])
        plot.minorticks_off()
    else:
        plot.set_xticks(list(places.values()), [str(value) for value in places])
        plot.set_xlim(-0.5, len(places) - 0.5)
    plot.set_ylim(bottom=0)
    plot.set_xlabel(axis.replace("_", " "))
    plot.set_title(panel.title, fontsize=10, loc="left", parse_math=False)
    plot.grid(alpha=0.3)


def singles(cell: Cell) -> list[float]:
    """Return the throughput of each round, or where there are none of each window, if they are few."""
    side, scale = cell.side, cell.record.shown[0]
    every = ([rate(one) for one in side.good] if side.interleaved else
             [window.rate for one in side.ran for window in windows_that_count(one.windows)])
    return [one / scale for one in every] if len(every) < FEW else []


def ran_out(cell: Cell) -> bool:
    """Return whether memory did not suffice for a cell, or for a smaller batch of it."""
    return any(perhaps_for_want_of_memory(one.reason or "") for one in cell.side.records)


def pixels(found: Sequence[Cell], axis: str) -> str:
    """Return the size of the images, where somebody chose it and it is one."""
    sizes = {one.record.image_size for one in found}
    size = sizes.pop() if len(sizes) == 1 and axis != "image_size" else None
    return f" at {size} x {size}" if size else ""


def caption(found: Sequence[Cell]) -> str:
    """Return what bars, dots and crosses mean, and where this was measured."""
    ran = [cell for cell in found if cell.side.ran]
    rounds = any(cell.side.interleaved for cell in ran)
    what = ("geometric mean over rounds; bars: 95 % interval over rounds; faint dots: rounds" if rounds else
            "median over windows; bars: 95 % bootstrap interval of it; faint dots: windows")
    crosses = "; crosses: no memory" if any(map(ran_out, found)) else ""
    where = " / ".join(dict.fromkeys(machine(cell.side.ran[0].system) for cell in ran))
    return f"{what}{crosses}. {where}"
