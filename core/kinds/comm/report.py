"""Records of collectives shown: a table of sizes for each collective, the lines through them, what was not measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.plan.sweep import in_words
from dlcompare.core.reports.forms import as_json, comparisons_as
from dlcompare.core.reports.record_csv import csv_text
from dlcompare.core.reports.sweeps import tables as sweeps
from dlcompare.core.reports.text import WIDE, columns, heading, number, plain_table, remarks, to_text, why

from .nccl import Foreign
from .result import CommRecord, Point, carried
from .sizes import words

MEGA = 1e6
MOST_MESSAGES = 6  # sizes of a step's messages that are named
MILLIS, MICROS = 1e3, 1e6


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


WORDS = {
    "comm disturbed": lambda v: (
        f"others used the machine (up to {v['foreign']:.2f} cores) during {v['count']} of {v['sizes']} sizes, marked "
        "*: no verdict rests on them, and the line is through them too"),
    "comm cut": lambda v: (
        f"cannot be cut into equal parts for {v['workers']} workers, so measured as the next size below (above, where "
        f"there is none) that can: {len(v['sizes'])} size{'s' * (len(v['sizes']) != 1)}, such as "
        f"{v['sizes'][0][0]:,} bytes as {v['sizes'][0][1]:,}"),
    "comm fit": lambda v: (
        f"the line through the times{' in place' * v['in_place']} is a bad fit: at {words(int(v['size']))} it is "
        f"{percent(v['worst'])} off, so predict nothing by it; the times themselves stand"),
}


def render(answer: Answer, form: str, judging: Judging | None) -> str:
    """Return records in one of the forms, with a verdict for each size where they are to be judged."""
    records: Sequence[CommRecord] = answer.records
    if form == "table" and any(one.point for one in records):
        more = [*(text for one in records if not one.round for text in messages(one)),
                *(part for one in answer.explanation or () for part in foreign(one)), *refusals(records),
                *(part for one in records if one.sizes and one.status != "ok"
                  for part in why(f"{one.name} {one.collective}, {in_words(one.point)} {one.status}", one))]
        return sweeps.render(carried(records), judging) + to_text(more, columns())
    if judging is not None:
        judged = comparisons_as(form, kind("comm").compare(records, judging))
        others = [part for one in answer.explanation or () for part in foreign(one)]
        return judged + to_text([*others, *below(records)], columns()) if form == "table" else judged
    if form == "json":
        return as_json(records)
    if form == "csv":
        rows = [row for record in records for row in csv_rows(record)]
        return csv_text(dict.fromkeys(name for row in rows for name in row), rows)
    width = columns()
    return to_text(parts(records, answer.explanation or (), wide=width >= WIDE), width)


def csv_rows(record: CommRecord) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each size; one with the reason for a record that has none."""
    about = {"run": record.run, "framework": record.name, "collective": record.collective, "workers": record.workers,
             "threads": record.job.get("threads"), "point": json.dumps(record.point, sort_keys=True),
             "round": record.round, "status": record.status, "reason": record.reason}
    for one in record.sizes or (None,):
        found = one and one.figures
        yield {**about, "size_bytes": one and one.size, "in_place": one and one.in_place,
               "calls": one and len(one.micros), "median_s": found and found.median, "low_s": found and found.low,
               "high_s": found and found.high, "min_s": found and found.least, "p95_s": found and found.p95,
               "p99_s": found and found.p99, "algorithm_bandwidth_B_per_s": found and found.algorithm_bandwidth,
               "bus_bandwidth_B_per_s": found and found.bus_bandwidth, "disturbed": one and one.disturbed,
               "wrong": one.wrong.text if one and one.wrong else None, "refused": one and one.refused,
               "reproduce": record.reproduce}


def parts(records: Sequence[CommRecord], others: Sequence[Foreign], *, wide: bool) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    if not records:
        yield Text("no records")
        return
    yield Text(heading(records))
    for name in dict.fromkeys(record.collective for record in records):
        found = [record for record in records if record.collective == name]
        workers = " / ".join(dict.fromkeys(f"{record.workers} workers" for record in found))
        yield Text(f"{name}, {workers}", style="bold")
        yield sizes(found, wide=wide)
        yield from (Text(f"{one.name}: by {one.how}", style="dim") for one in found if one.how)
        yield from (text for one in found for text in lines(one))
        yield from (text for one in found for text in messages(one))
        yield from (part for one in others if one.collective == name for part in foreign(one))
        yield Text("")
    yield from notes(records)
    known = {record.collective for record in records}
    yield from (Text(f"\n{one.file} is of {one.collective}, which was not asked for here, and so not shown")
                for one in others if one.collective not in known)
    yield from below(records)


def sizes(records: Sequence[CommRecord], *, wide: bool) -> RenderableType:
    """Return the table of one collective: a row for each framework, way and size."""
    table = plain_table()
    table.add_column("framework", overflow="fold")
    heads = ["size", "median\nms", "95 %\ninterval", "p95\nms", "p99\nms", "algbw\nMB/s", "busbw\nMB/s", "calls"]
    for head in heads if wide else [heads[0], heads[1], *heads[3:5], *heads[6:]]:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("payload", overflow="fold")
    for record in records:
        if not record.sizes:
            table.add_row(record.name, *[""] * (len(table.columns) - 2), record.status)
        for place, one in enumerate(sorted(record.sizes, key=lambda one: (one.in_place, one.size))):
            first = place == 0 or (one.in_place and not any(o.in_place for o in table_before(record, place)))
            name = record.name + (" in place" if one.in_place else "") if first else ""
            table.add_row(Text(name), *map(Text, cells(one, wide=wide)), payload(one))
    return table


def table_before(record: CommRecord, place: int) -> Sequence[Point]:
    """Return the points in rows above one."""
    return sorted(record.sizes, key=lambda one: (one.in_place, one.size))[:place]


def cells(one: Point, *, wide: bool) -> list[str]:
    """Return the cells of one size between name and payload."""
    size, found = words(one.size), one.figures
    if found is None:
        return [size, *["-"] * (6 if wide else 4), str(len(one.micros) or "-")]
    times = [number(MILLIS * value) for value in (found.median, found.p95, found.p99)]
    between = f"[{number(MILLIS * found.low)}, {number(MILLIS * found.high)}]"
    calls = f"{len(one.micros)}{'*' * one.disturbed}"
    bus = number(found.bus_bandwidth / MEGA)
    return ([size, times[0], between, *times[1:], number(found.algorithm_bandwidth / MEGA), bus, calls] if wide
            else [size, *times, bus, calls])


def payload(one: Point) -> Text:
    """Return whether a size's results were right, or why there are none."""
    if one.refused:
        return Text("refused", style="dim")
    return Text("WRONG", style="bold red") if one.wrong else Text(f"{one.checked} right", style="green")


def lines(record: CommRecord) -> Iterator[Text]:
    """Yield the line through a record's times: what a message costs at least, and each byte of it."""
    for one in record.fits:
        line, place = one.line, " in place" * one.in_place
        alpha, low, high = (number(MICROS * value) for value in (line.alpha, line.alpha_low, line.alpha_high))
        rates = [number(1 / value / MEGA) if value else "-" for value in (line.beta, line.beta_high, line.beta_low)]
        fits = f"BAD FIT, up to {percent(line.worst)} off" if line.poor else f"at worst {percent(line.worst)} off"
        yield Text(f"{record.name}{place}: {alpha} us [{low}, {high}] + bytes / {rates[0]} MB/s "
                   f"[{rates[1]}, {rates[2]}], {fits}", style="yellow" if line.poor else "")


def messages(record: CommRecord) -> Iterator[Text]:
    """Yield what a training step sends, the largest first."""
    for model, found in record.messages.items():
        counted = sorted(Counter(one.size for one in found).items(), reverse=True)
        said = [f"{count} x {words(size)}" if count > 1 else words(size) for size, count in counted]
        more = f" and {len(said) - MOST_MESSAGES} smaller sizes" if len(said) > MOST_MESSAGES else ""
        yield Text(f"{record.name}: a step of {model} sends {len(found)} message{'s' * (len(found) != 1)}, "
                   f"{words(sum(one.size for one in found))} in all: {', '.join(said[:MOST_MESSAGES])}{more}")


def foreign(one: Foreign) -> Iterator[RenderableType]:
    """Yield what nccl-tests measured of the same collective, on whatever machine."""
    yield Text(f"nccl-tests, another program and maybe another machine: {one.ranks} ranks, NCCL {one.version}, "
               f"{' / '.join(one.devices)} ({one.file})")
    table = plain_table()
    for head in ("size", "ms", "algbw MB/s", "busbw MB/s", "wrong"):
        table.add_column(head, justify="right")
    for row in one.rows:
        rates = [number(None if rate is None else rate / MEGA) for rate in (row.algorithm_bandwidth, row.bus_bandwidth)]
        table.add_row(words(row.size) + " in place" * row.in_place,
                      number(None if row.seconds is None else MILLIS * row.seconds), *rates,
                      "not looked" if row.wrong is None else str(row.wrong))
    yield table


def notes(records: Sequence[CommRecord]) -> Iterator[Text]:
    """Yield what the columns mean, where there is a number to explain."""
    if any(one.figures for record in records for one in record.sizes):
        yield Text("Times are the slowest rank's, from a barrier on; K, M and G are powers of 1,024, MB/s of 1,000. "
                   "algbw: size / time. busbw: that times what a link must carry of each byte, by nccl-tests' "
                   "definitions. payload: whether results were right on every rank, of so many calls; they are checked "
                   "before and after the timed calls, and the last of those. Where the engine works in place, the "
                   "other rows hold a copy. These runs were one after another: differences are no verdict; --rounds "
                   "gives one.", style="dim")


def below(records: Sequence[CommRecord]) -> Iterator[RenderableType]:
    """Yield which sizes were refused and why, and what limits or ended records; of rounds that went well, the first."""
    records = [record for record in records if not record.round or record.status != "ok"]
    yield from refusals(records)
    yield from remarks(list(enumerate(records, start=1)))


def refusals(records: Sequence[CommRecord]) -> Iterator[RenderableType]:
    """Yield which sizes were refused and why."""
    refused: dict[tuple[str, str, str], dict[str, None]] = {}
    for record in records:
        for one in record.sizes:
            if one.refused:
                refused.setdefault((record.name, record.collective, one.refused), {})[words(one.size)] = None
    for (name, collective, reason), found in refused.items():
        yield Text(f"\n{name} {collective}, {', '.join(found)} refused: {reason}")
