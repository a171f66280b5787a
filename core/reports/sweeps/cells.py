"""Records of a sweep as cells, one for each side at each point, and as lines along an axis. Shows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcompare.core.judging.pairs import log_ratios
from dlcompare.core.judging.verdict import Interval, Side, sides
from dlcompare.core.records.energy import Spent, over_rounds
from dlcompare.core.records.record import Record
from dlcompare.core.records.stats import mean_interval

Point = Mapping[str, Any]
BATCH, WORKERS, THREADS = "batch", "workers", "threads"
LARGEST = "max"


@dataclass(frozen=True, eq=False)
class Cell:
    """One side of a comparison at one point of a sweep."""

    point: Point
    side: Side

    @property
    def record(self) -> Record:
        """Return the record that stands for all rounds."""
        return (self.side.good or self.side.ran or self.side.records)[0]

    def at(self, axis: str) -> Any:
        """Return the cell's value of an axis, for a batch that was searched for the one that was found."""
        value = self.point[axis]
        return self.record.batch_per_worker if value == LARGEST and self.side.ran else value

    def energy(self) -> dict[str, Spent]:
        """Return what was spent by the scope that a meter covers; {} without one."""
        found = over_rounds([one.energy for one in self.side.good or self.side.ran])
        return {one.scope: one for one in found}


@dataclass(frozen=True)
class Line:
    """Cells that differ in one setting alone, by its value: of the side ``name``, at the ``others`` of the point."""

    name: str
    others: Point
    cells: Mapping[Any, Cell]

    def first(self) -> Cell | None:
        """Return the cell that others are related to: the first of the axis that has a number."""
        return next((cell for cell in self.cells.values() if cell.side.throughput), None)

    def over_first(self, value: Any) -> float | None:
        """Return throughput at a value over that at the first."""
        base, cell = self.first(), self.cells.get(value)
        ours, theirs = cell and cell.side.throughput, base and base.side.throughput
        return ours / theirs if ours and theirs else None

    def interval_over_first(self, value: Any) -> Interval:
        """Return the 95 % interval of that ratio over the rounds that both ran in undisturbed; none from one round."""
        base, cell = self.first(), self.cells.get(value)
        if base is None or cell is None or cell is base:
            return None, None
        logs = log_ratios(cell.side.by_round, base.side.by_round)
        if len(logs) < 2 or not cell.side.interleaved:
            return None, None
        low, high = mean_interval(logs, anytime=cell.side.open_ended)
        return math.exp(low), math.exp(high)

    @property
    def text(self) -> str:
        """Return what tables and legends call it."""
        return ", ".join([self.name, *(f"{name.replace('_', ' ')} {value}" for name, value in self.others.items())])


def cells(records: Sequence[Record]) -> list[Cell]:
    """Return the cells in the order in which their first records were planned: by point, then by side."""
    found = []
    for group in dict.fromkeys(one.group for one in records):
        of = [one for one in records if one.group == group]
        found += [Cell(of[0].point, side) for side in sides(of)]
    places = {axis: {value: place for place, value in enumerate(values)} for axis, values in axes(found).items()}
    return sorted(found, key=lambda cell: [places[axis][cell.point[axis]] for axis in places if axis in cell.point])


def axes(found: Sequence[Cell]) -> dict[str, list[Any]]:
    """Return the values of each axis: numbers in ascending order, words behind them as they come."""
    names = dict.fromkeys(name for cell in found for name in cell.point)
    values = {name: dict.fromkeys(cell.point[name] for cell in found if name in cell.point) for name in names}
    return {name: sorted(of, key=lambda one: one if isinstance(one, (int, float)) else math.inf)
            for name, of in values.items()}


def lines(found: Sequence[Cell], axis: str) -> list[Line]:
    """Return the lines along an axis, in the order of their first cells; those of several runs are named by run too."""
    several = len({cell.side.run for cell in found}) > 1
    made: dict[tuple[Any, ...], dict[Any, Cell]] = {}
    for cell in found:
        if axis in cell.point:
            run = (("run", cell.side.run),) if several else ()
            others = tuple((name, value) for name, value in cell.point.items() if name != axis)
            made.setdefault((cell.side.name, (*run, *others)), {})[cell.point[axis]] = cell
    return [Line(name, dict(others), of) for (name, others), of in made.items()]
