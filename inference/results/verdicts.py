"""Which engine is faster, and what each precision buys within one engine: verdicts at every batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import Comparison, Verdict, compare
from dlcompare.core.reports.text import interval, number, plain_table
from dlcompare.core.reports.verdicts import STYLES, percent
from dlcompare.inference.cell.result import InferenceRecord


def comparisons(records: Sequence[InferenceRecord], judging: Judging) -> list[Comparison]:
    """Return the comparisons that records of speed amount to.

    With a baseline all sides are compared to it; otherwise engines at one precision, and the precisions of one engine,
    where there are several of them.
    """
    timed = [record for record in records if record.task == "measure"]
    if judging.baseline is not None:
        return compare(timed, judging)
    return [one for group in groups(timed) for one in compare(group, judging)]


def groups(records: Sequence[InferenceRecord]) -> Iterator[list[InferenceRecord]]:
    """Yield records that are compared with one another, where there are at least two sides."""
    for name in ("precision", "framework"):
        for value in dict.fromkeys(getattr(record, name) for record in records):
            found = [record for record in records if getattr(record, name) == value]
            if len({record.name for record in found}) > 1:
                yield found


def verdict_table(found: Sequence[Comparison]) -> Iterator[RenderableType]:
    """Yield a row for each verdict, and what the columns mean."""
    table, swept = plain_table(), any("threads" in one.point for one in found)
    for name in ("network", "side", "against"):
        table.add_column(name, overflow="fold")
    for name in ("batch", *(["threads"] * swept), "ratio", "95 % interval", "verdict", "could see", "rounds"):
        table.add_column(name, justify="right", no_wrap=name != "verdict")
    for one in found:
        where = [str(one.baseline.records[0].batch_per_worker), *([str(one.point.get("threads", ""))] * swept)]
        for verdict in one.verdicts:
            table.add_row(one.model, Text(verdict.name), Text(verdict.baseline), *where, *cells(verdict))
    yield Text("\nVerdicts", style="bold")
    yield table
    yield Text("ratio: of throughputs, round by round. verdict: same if the whole interval is within "
               f"{100 * found[0].margin:g} %, faster or slower if it leaves out 1, else undecided. could see: the "
               "smallest difference that these rounds tell from none.", style="dim")
    for reason in dict.fromkeys(f"no verdict on {verdict.name}: {verdict.reason}" for one in found
                                for verdict in one.verdicts if verdict.reason):
        yield Text(reason, style="yellow")


def cells(verdict: Verdict) -> list[Text]:
    """Return the cells of a verdict after its names."""
    word = Text(verdict.word, style=STYLES[verdict.word]) if verdict.word else Text("none", style="dim")
    return [Text(number(verdict.ratio)), Text(interval(verdict.low, verdict.high)), word,
            Text(percent(verdict.resolution)), Text(str(verdict.rounds))]
