"""What is told while rounds go on: each ratio so far, and about how long it takes until it is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlcompare.core.judging.outlook import FURTHEST, Outlook, outlooks
from dlcompare.core.kinds.kind import Kind
from dlcompare.core.plan import rounds
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plan.sweep import in_words
from dlcompare.core.records.record import Record
from dlcompare.core.reports.text import interval, number

from .folder import in_order

MOST = 3  # ratios that are told of; of more, those that take longest


def after_round(plan: Plan, kind: Kind, records: Mapping[str, Record]) -> str:
    """Return in one line how far the ratios of a run are when a round is done."""
    took = rounds.seconds_each(records)
    found = outlooks(kind.compare(in_order(plan, records), plan.judging))
    return told(found, done=len(took), of=None if plan.until else plan.rounds,
                seconds=sum(took.values()) / len(took))


def told(found: Sequence[Outlook], *, done: int, of: int | None, seconds: float) -> str:
    """Return in one line how far some ratios are, after so many rounds that took so many ``seconds`` each."""
    rounds = f"{done} of {of}" if of else str(done)
    open_ = sorted((one for one in found if one.more != 0), key=lambda one: -(one.more or FURTHEST))
    if not found:
        return f"{rounds} done, and no ratio rests on two that were undisturbed"
    shown = [*open_, *(one for one in found if one.more == 0)][:MOST]
    rest = f"; {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return f"{rounds} done: {'; '.join(one_told(one, seconds) for one in shown)}{rest}"


def one_told(one: Outlook, seconds: float) -> str:
    verdict = one.verdict
    where = f"{in_words(one.point)}: " if one.point else ""
    so_far = f"{where}{verdict.name} {number(verdict.ratio)} {interval(verdict.low, verdict.high)} {verdict.word}"
    if one.more == 0:
        return so_far
    if one.more is None:
        return f"{so_far}, and not decided within {FURTHEST} rounds such as these"
    return f"{so_far}, for about {one.more} more round{'s' * (one.more > 1)} ({duration(one.more * seconds)})"


def duration(seconds: float) -> str:
    """Return about how long something takes."""
    return next(f"{seconds / unit:.0f} {name}" for unit, name in ((1, "s"), (60, "min"), (3600, "h"))
                if seconds < 100 * unit or unit == 3600)
