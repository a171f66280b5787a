"""Input pipelines side by side: both passes, what they read and computed, and what training waited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer
from dlcompare.core.reports.fairness import spans
from dlcompare.core.reports.forms import records_as
from dlcompare.core.reports.text import (
    columns,
    device,
    interval,
    number,
    plain_table,
    remarks,
    state,
    to_text,
)

from .result import Ids, IoRecord, Pass

MB = 1e6
SAME = 0.01  # of 255: what normalising in float32, and undoing it, costs
NARROW = 100  # columns, below which intervals and the second pass are left to JSON
WORDS = {
    "residency unknown": lambda v: "nobody could tell whether the files were in memory, so the first pass may be warm",
    "not evicted": lambda v: (f"{100 * v['share']:.0f} % of the files stayed in memory when they were to be dropped, "
                              "so the first pass is not cold; some process has them mapped, or the file system keeps "
                              "them"),
    "not warm": lambda v: (f"when the second pass began, {100 * v['share']:.0f} % of the files were in memory: they do "
                           "not fit, so it is not warm"),
    "samples dropped": lambda v: (f"of {v['samples']} samples {v['seen']} came in the first pass: the pipeline drops "
                                  "what is left over in each of its processes"),
}


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms."""
    return records_as(form, answer.records, as_table)


def as_table(records: Sequence[IoRecord]) -> str:
    width = columns()
    return to_text(parts(records, width), width)


def parts(records: Sequence[IoRecord], width: int) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    rows = list(enumerate(records, start=1))
    seen = next((one for one in records if one.system), records[0])
    yield Text(f"Input pipelines: {seen.image_size} x {seen.image_size} pixels, batch {seen.batch_per_worker}, "
               f"{device(seen)}\n")
    if read := [row for row in rows if not row[1].model]:
        yield passes(read, wide=width >= NARROW)
        yield Text("\nEach row is a process of its own that reads the training split several times: images/s from "
                   "files to arrays in the first pass and, as the median, in later ones; MB from the device in the "
                   "first and the second; cores that were busy; processor time of an image in the second. "
                   + temperature([one for _, one in read]),
                   style="dim")
    if trained := [row for row in rows if row[1].model]:
        yield Text("")
        yield trainings(trained)
        yield Text("\nwaits: share of the windows' time that training spent waiting for input.", style="dim")
    yield from ledger(rows)
    yield from remarks(rows)


def passes(rows: Sequence[tuple[int, IoRecord]], *, wide: bool) -> RenderableType:
    """Return the table of what was read twice."""
    made = plain_table()
    later = ["95 % interval", "MB", "CPU ms"] if wide else []
    heads = ["#", "data", "pipeline", "loaders", "first/s", "MB", "cores", "later/s", *later, "status"]
    for name in heads:
        made.add_column(name, overflow="fold", justify="left" if name in ("data", "pipeline", "status") else "right")
    for place, one in rows:
        rate = one.throughput
        more = [interval(rate.low, rate.high) if rate else "", told(one.second)[1], cost(one.second)] if wide else []
        second = [number(rate.value) if rate else "-", *more]
        cells = [str(place), one.form, one.framework, str(one.loaders), *told(one.first), *second]
        made.add_row(*map(Text, cells), state(one))
    return made


def told(one: Pass | None) -> list[str]:
    """Return a pass in three cells."""
    if one is None:
        return ["-", "-", "-"]
    return [number(one.rate), "-" if one.read is None else f"{one.read / MB:,.1f}",
            "-" if one.cores is None else f"{one.cores:.2f}"]


def cost(one: Pass | None) -> str:
    """Return the processor time of a sample in milliseconds."""
    return "-" if one is None or one.cost is None else f"{1e3 * one.cost:.2f}"


def trainings(rows: Sequence[tuple[int, IoRecord]]) -> RenderableType:
    """Return the table of what was trained."""
    made = plain_table()
    for name in ("#", "data", "framework", "pipeline", "loaders", "model", "samples/s", "waits", "status"):
        made.add_column(name, overflow="fold", justify="right" if name in ("#", "loaders", "samples/s", "waits") else
                        "left")
    for place, one in rows:
        stall = "-" if one.stall is None else f"{100 * one.stall:.1f} %"
        rate = number(one.throughput.value) if one.throughput else "-"
        cells = [str(place), one.form, one.framework, one.pipeline, str(one.loaders), one.model, rate, stall]
        made.add_row(*map(Text, cells), state(one))
    return made


def temperature(records: Sequence[IoRecord]) -> str:
    """Return in words what the first passes may be called."""
    words = sorted({one.temperature for one in records if one.first})
    if words == ["cold"]:
        return "The first pass is cold: the files' pages were dropped, and were seen to be gone."
    if words == ["lukewarm"]:
        return ("The first pass is lukewarm: the files' pages were dropped, and were seen to be gone, but this is a "
                "virtual machine, whose host may hold them.")
    return f"The first passes are {', '.join(words)}." if words else ""


def ledger(rows: Sequence[tuple[int, IoRecord]]) -> Iterator[RenderableType]:
    """Yield which samples came, in which rows in the neutral order, and of each pipeline what is its own in order and
    pixels, with its rows.
    """
    whole = {one.ids.sha256 for _, one in rows if one.ids and one.ids.seen == one.ids.samples}
    partial = [place for place, one in rows if one.ids and one.ids.seen < one.ids.samples]
    if len(whole) == 1:
        yield Text(f"\nthe same: samples and labels of whole passes (sha256 {whole.pop()[:12]})"
                   + (f"; not all of them came in rows {spans(partial)}" if partial else ""))
    elif whole:
        yield Text(f"\nNOT the same: samples and labels ({len(whole)} different sha256)", style="bold yellow")
    if in_order := [place for place, one in rows if one.ids and one.ids.neutral]:
        yield Text(f"\nthe same: order of the samples, the neutral one, as it came in rows {spans(in_order)}")
    said: dict[str, list[int]] = {}
    for place, one in rows:
        if one.pipeline == "native" and one.first:
            said.setdefault(own_ways(one), []).append(place)
    for words, places in said.items():
        yield Text(f"\n{', '.join(map(str, places))}: {words}")


def own_ways(one: IoRecord) -> str:
    """Return in words what a framework's own pipeline does its own way."""
    own, pixels = one.settings.own, one.pixels
    apart = "not compared" if pixels is None else "the same as the neutral pipeline's" if pixels.most < SAME else (
        f"{pixels.mean:.2f} of 255 from the neutral pipeline's on average, {pixels.most:.0f} at most")
    return (f"{one.framework}'s own on {one.form}. Order: {own.get('input_order')}{came(one.ids)}. Decoding: "
            f"{own.get('input_decoding')}. Pixels of the evaluation view: {apart}.")


def came(ids: Ids | None) -> str:
    """Return in words which samples a first pass gave, and whether in the neutral order; "" where nobody looked."""
    if ids is None or ids.order_sha256 is None:
        return ""
    some = f"{ids.seen} of {ids.samples}" if ids.seen < ids.samples else f"all {ids.samples}"
    order = "in" if ids.neutral else "NOT in"
    return f"; {some} samples came, each once, {order} the neutral order (sha256 {ids.order_sha256[:12]})"
