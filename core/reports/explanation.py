"""The waterfall of a gap as a table: which factor goes with which setting, what stays unexplained."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.factor import Factor
from dlcompare.core.judging.kernels import Kernels

from .text import interval, number, plain_table

LAYERS = 8  # of a network, those that differ most
BAR = 20  # characters that stand for the whole gap


def gap_parts(found: Explanation | str, width: int) -> Iterator[RenderableType]:
    """Yield the explanation of a gap, or the sentence that says why there is none."""
    if isinstance(found, str):
        yield Text(f"\nExplanation: {found}", style="bold")
        return
    yield Text(f"\nThe gap: {found.fast} is {number(found.gap.ratio)} times as fast as {found.slow} "
               f"{interval(found.gap.low, found.gap.high)}, in {found.rounds} more rounds", style="bold")
    table = plain_table()
    table.add_column(f"{found.slow} with", overflow="fold")
    table.add_column("instead of", overflow="fold")
    for head in ("factor", "95 % interval", "of the gap"):
        table.add_column(head, justify="right", no_wrap=True)
    if width >= 100:
        table.add_column("", no_wrap=True)
    done = 0.0
    for words, before, factor in [*((f"{m.setting} {m.after}", m.before, f) for m, f in found.factors),
                                  ("unexplained", "", found.unexplained)]:
        table.add_row(Text(words), Text(before), *cells(factor), *([bar(done, factor.share)] if width >= 100 else []))
        done += factor.share
    yield table
    yield Text("\nfactor: what moving this one setting to the other's value multiplies the throughput by (input path: "
               "both sides' moved, their ratio); in brackets where its interval holds 1. The factors and the "
               "unexplained rest multiply to the gap, so what settings do only together is in the rest.", style="dim")
    for item in found.kept:
        yield Text(f"not moved: {item.setting}: {item.reason}")
    if isinstance(found.kernels, str):
        yield Text(f"\nkernels: {found.kernels}")
    elif found.kernels is not None:
        yield from kernel_parts(found.kernels)


def kernel_parts(found: Kernels) -> Iterator[RenderableType]:
    """Yield what layers make of the gap: the factor, and those that differ most."""
    yield Text(f"\nKernels: the same gap by where the time goes, with settings as they were, one worker a side, in "
               f"{found.rounds} rounds (dlcompare report {found.run})", style="bold")
    table = plain_table()
    for head in (f"{found.slow} with", "factor", "95 % interval", "of the gap"):
        table.add_column(head, justify="left" if head.endswith("with") else "right", no_wrap=True)
    table.add_row(Text(f"layers as fast as {found.fast}'s"), *cells(found.factor))
    table.add_row(Text(f"the rest of a step as {found.fast}'s"), *cells(found.rest))
    yield table
    yield Text("")
    layers = plain_table()
    layers.add_column("layer, first of its kind", overflow="fold")
    layers.add_column("what it does", overflow="fold")
    for head in ("n", f"{found.slow}\nms a step", f"{found.fast}\nms a step", "of the\ndifference"):
        layers.add_column(head, justify="right")
    for one in found.layers[:LAYERS]:
        layers.add_row(Text(one.name), Text(one.about), str(one.count), number(1e3 * one.slow), number(1e3 * one.fast),
                       f"{100 * one.share:.0f} %")
    yield layers


def bar(done: float, share: float) -> str:
    """Return a step of the waterfall: from what is explained so far to what is with this share."""
    low, high = sorted(round(BAR * min(1.0, max(0.0, end))) for end in (done, done + share))
    return " " * low + "█" * (high - low)


def cells(factor: Factor) -> tuple[Text, Text, Text]:
    """Return a factor's cells; in brackets if it may be 1."""
    doubtful = factor.low <= 1 <= factor.high
    text = f"({number(factor.ratio)})" if doubtful else number(factor.ratio)
    return (Text(text, style="dim" if doubtful else ""), Text(interval(factor.low, factor.high)),
            Text(f"{100 * factor.share:.0f} %"))
