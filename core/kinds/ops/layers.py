"""Where the time of a network's step goes: each layer alone, in every framework, and what a step costs beyond them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.judging.kernels import Breakdown
from dlcompare.core.reports.text import number, plain_table, state

from .request import STEP
from .result import OpsRecord

SHOWN = 16  # layers; the others are summed up
Row = tuple[int, OpsRecord]


def layer_parts(rows: Sequence[Row], width: int) -> Iterator[RenderableType]:
    """Yield the layers of each network and batch in all frameworks that timed them."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for place, record in rows:
        groups.setdefault((record.model, record.image_size, record.batch_per_worker), []).append((place, record))
    for group in groups.values():
        first = group[0][1]
        yield Text(f"\nWhere a step of {first.model} goes, batch {first.batch_per_worker}", style="bold")
        told = [(place, record, found) for place, record in group if (found := record.breakdown())]
        if told:
            yield table(told)
            yield notes(some=any(record.job["ops"] for _, record in group))
        for place, record in group:
            if record.status == "ok":
                yield Text.assemble(f"{place} {record.name}: {record.conditions}; ", state(record))


def table(rows: Sequence[tuple[int, OpsRecord, Breakdown]]) -> Table:
    """Return the table of layers, those that take most first."""
    made = plain_table()
    made.add_column("layer, first of its kind\nwhat it does", overflow="fold")
    made.add_column("n", justify="right")
    for place, record, _ in rows:
        made.add_column(f"{place} {record.name}\nms a step", justify="right")
        made.add_column("GFLOP/s", justify="right", vertical="top")
    times = [{one.name: one.seconds for one in found.layers} for _, _, found in rows]
    layers = sorted(rows[0][2].layers, key=lambda one: -max(by.get(one.name, 0.0) for by in times))
    for one in layers[:SHOWN]:
        numbers = [cell for (_, record, _), by in zip(rows, times, strict=True)
                   for cell in (milliseconds(by.get(one.name)), speed(record, one.name, by.get(one.name)))]
        made.add_row(Text(f"{one.name}\n{one.about}"), str(one.count), *numbers)
    if rest := layers[SHOWN:]:
        made.add_row(f"{len(rest)} others", str(sum(one.count for one in rest)),
                     *sums([sum(by.get(one.name, 0.0) for one in rest) for by in times]))
    made.add_section()
    some = any(record.job["ops"] for _, record, _ in rows)
    inside, beyond = (("these layers, alone", "the rest, other layers too") if some else
                      ("all layers, alone", "beyond its layers"))
    made.add_row(inside, "", *sums([found.inside for _, _, found in rows]))
    made.add_row("the whole step", "", *sums([found.whole for _, _, found in rows]))
    made.add_row(beyond, "", *(cell for _, _, found in rows for cell in (
        milliseconds(found.beyond), f"{100 * found.beyond / found.whole:.0f} %")))
    return made


def sums(seconds: Sequence[float]) -> list[str]:
    """Return a sum for each record, with nothing in the column of rates."""
    return [cell for value in seconds for cell in (milliseconds(value), "")]


def milliseconds(seconds: float | None) -> str:
    return number(None if seconds is None else 1e3 * seconds)


def speed(record: OpsRecord, name: str, seconds: float | None) -> str:
    """Return a layer's GFLOP/s in a step, its frame taken off; "" for a layer that multiplies nothing."""
    one = next((timed for timed in record.timed if timed.name == name), None)
    if one is None or not one.step_flops or not seconds or seconds < 0 or one.seconds(STEP) is None:
        return ""
    return number(one.count * one.step_flops / seconds / 1e9)


def notes(*, some: bool) -> Text:
    beyond = ("The rest holds the layers that were not asked for: it is no overhead." if some else
              "Beyond its layers: what the whole step costs more than they do alone; less than 0 where a framework "
              "runs several as one.")
    return Text("\nEach layer is timed alone as a training step (forward, gradients, update), times the n that a step "
                f"has, less what the frame around it takes. {beyond}", style="dim")
