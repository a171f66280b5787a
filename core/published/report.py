"""``dlcompare published``: what others measured, as a table for people, whole for programs, or beside rows of ours."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.errors import DlcompareError, unknown
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.record import Record
from dlcompare.core.reports.record_csv import csv_text
from dlcompare.core.reports.text import columns, plain_table, to_text

from .figures import Figure, figures, in_words, like
from .tables import Table, here, names, table

METRICS = {"throughput": "samples/s", "power": "W", "energy": "J/sample"}


def choose(model: str | None, accelerator: str | None) -> list[Figure]:
    """Return the end-to-end figures of a model and an accelerator, by our name or the source's; all if none is named.

    Raises:
        UsageError: nothing is published of it; lists of what something is.
    """
    every = figures()
    if model and not any(here("model", model) == one.model for one in every):
        raise unknown("published model", model, {one.model for one in every})
    known = {name for one in every for name in (one.printed, one.accelerator)}
    if accelerator and accelerator.casefold() not in {name.casefold() for name in known}:
        raise unknown("published accelerator", accelerator, known)
    return [one for one in every if (not model or here("model", model) == one.model) and (
        not accelerator or accelerator.casefold() in (one.printed.casefold(), one.accelerator.casefold()))]


def render(model: str | None, accelerator: str | None, form: str) -> str:
    """Return what is published of a model and an accelerator in one of the forms. Raises as :func:`choose`."""
    found = choose(model, accelerator)
    if form == "table":
        return to_text(parts(found), columns())
    plain = [dataclasses.asdict(one) for one in found]
    return as_json(plain) if form == "json" else csv_text([spec.name for spec in dataclasses.fields(Figure)], plain)


def render_table(name: str, form: str) -> str:
    """Return a whole table as its authors printed it; UsageError if there is none of that name."""
    one = table(name)
    if form == "csv":
        return csv_text(one.rows[0], one.rows)
    if form == "json":
        return as_json({"table": one.name, "source": dataclasses.asdict(one.source), "where": one.where,
                        "what": one.what, "rows": one.rows})
    made = plain_table()
    for column in one.rows[0]:
        made.add_column(column.replace("_", " "), overflow="fold")
    for row in one.rows:
        made.add_row(*map(Text, row.values()))
    return to_text([Text(f"{one.what[:1].upper()}{one.what[1:]}: {citation(one)}\n"), made], columns())


def as_json(plain: Any) -> str:
    return json.dumps(plain, indent=1) + "\n"


def citation(one: Table) -> str:
    """Return a source in full, and where in it a table stands."""
    return f"{one.source.authors}, {one.source.year}, \"{one.source.title}\", {one.where}"


def parts(found: Sequence[Figure]) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    rows: dict[tuple[str, int, str, str], dict[str, Figure]] = {}
    for one in found:
        rows.setdefault((one.model, one.batch, one.printed, one.precision), {})[one.metric] = one
    made = plain_table()
    for name in ("model", "batch", "accelerator", "precision", *METRICS.values()):
        made.add_column(name, justify="left" if name in ("model", "accelerator", "precision") else "right")
    for (model, batch, *which), cells in sorted(rows.items(), key=lambda item: item[0][:2]):
        made.add_row(model, str(batch), *which, *(said(cells, metric) for metric in METRICS))
    yield Text("Training, measured by others on one accelerator each\n")
    yield made
    for cited in dict.fromkeys(one.cited for one in found):
        yield Text(f"\n{cited}: {citation(next(t for t in map(table, names()) if t.cited == cited))}", style="dim")
    yield Text("OOM: out of memory. Cells that are empty were not printed. What a sample "
               "is, the source says; images are of 224 x 224 pixels.", style="dim")
    yield Text(f"Tables to print whole with --table: {', '.join(names())}", style="dim")


def said(cells: Mapping[str, Figure], metric: str) -> str:
    """Return a cell as the source has it."""
    return cells[metric].said if metric in cells else ""


def beside(records: Sequence[Record]) -> Iterator[Text]:
    """Yield what is published of the same networks, batches and image sizes as measured on one worker."""
    asked: dict[tuple[str, int, int | None, str], None] = {}
    for one in records:
        if one.throughput and one.workers == 1:
            asked[one.model, one.batch_per_worker, side(one), one.precision] = None
    for model, batch, size, arithmetic in asked:
        if told := in_words(like(model, batch=batch, image_size=size, arithmetic=arithmetic)):
            pixels = f", {size} x {size} pixels" if size else ""
            yield Text(f"published for {model}, batch {batch}{pixels}, on other machines: {told}", style="dim")


def side(record: Record) -> int | None:
    """Return the side of the images that a record was made with, the network's own where nobody chose."""
    if record.image_size is not None:
        return record.image_size
    with contextlib.suppress(DlcompareError):  # another's model, or an earlier version's
        image = plugins().model(record.model).inputs.get("image")
        return max(image.shape[1:]) if image else None
    return None
