"""Of the gap between two frameworks: how much goes with which setting, how much stays unexplained."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlcompare.core.records.record import Record

from .factor import Factor, factor
from .kernels import Kernels
from .pairs import Rounds, log_ratio
from .verdict import sides

Logs = dict[int, float]  # logarithm of a ratio, by round


@dataclass(frozen=True)
class Move:
    """One setting of the slower side moved to the faster one's value, as the side ``moved``.

    Where both must move for a fair answer, ``partner`` is the faster side moved as well.
    """

    setting: str
    before: str
    after: str
    moved: str
    partner: str | None = None


@dataclass(frozen=True)
class Kept:
    """A setting that was not moved, and why."""

    setting: str
    reason: str


@dataclass(frozen=True)
class Explanation:
    """The gap, the factor that goes with each move, and what is left: gap = product of factors x unexplained.

    ``kernels`` divides the same gap another way: by where the steps' time goes, or says why that cannot be told.
    """

    slow: str
    fast: str
    rounds: int
    gap: Factor
    factors: tuple[tuple[Move, Factor], ...]
    unexplained: Factor
    kept: tuple[Kept, ...]
    kernels: Kernels | str | None = None


def attribute(slow: str, fast: str, moves: Sequence[Move], kept: Sequence[Kept],
              records: Sequence[Record]) -> Explanation | str:
    """Return the explanation from the records of one run, or in a sentence why there is none."""
    ran = {side.name: side.by_round for side in sides(records)}
    gap = logs(ran, fast, slow)
    if len(gap) < 2:
        return f"too few rounds in which both {slow} and {fast} ran undisturbed ({len(gap)}) to explain anything"
    done, missed = [], list(kept)
    for move in moves:
        found = gain_of_move(ran, move, slow, fast)
        if len(found) < 2:
            missed.append(Kept(move.setting, why_missing(move, records)))
        else:
            done.append((move, found))
    whole = statistics.fmean(gap.values())
    common = sorted(set(gap).intersection(*(found for _, found in done)))
    left = [gap[number] - sum(found[number] for _, found in done) for number in common]
    if len(left) < 2:
        return f"too few rounds that were undisturbed on all sides ({len(left)}) to explain anything"
    return Explanation(slow, fast, len(common), factor(list(gap.values()), whole),
                       tuple((move, factor(list(found.values()), whole)) for move, found in done),
                       factor(left, whole), tuple(missed))


def logs(ran: Mapping[str, Rounds], above: str, below: str) -> Logs:
    """Return the logarithms of the ratio of two sides, of the rounds in which both ran."""
    one, two = ran.get(above, {}), ran.get(below, {})
    return {number: log_ratio(one[number], two[number]) for number in sorted(one.keys() & two.keys())}


def gain_of_move(ran: Mapping[str, Rounds], move: Move, slow: str, fast: str) -> Logs:
    """Return how much a move speeds the slower side up, over what its partner gains; logarithms by round."""
    gain = logs(ran, move.moved, slow)
    if move.partner is None:
        return gain
    other = logs(ran, move.partner, fast)
    return {number: gain[number] - other[number] for number in gain if number in other}


def why_missing(move: Move, records: Sequence[Record]) -> str:
    """Return why a move has no number."""
    reasons = [f"{r.name} {r.status}: {r.reason}" for r in records if r.name in (move.moved, move.partner) and r.reason]
    return reasons[0] if reasons else "too few of its rounds were undisturbed"
