"""Which samples the frameworks' own pipelines really gave in the first epoch, as far as training read it: none of them
twice, on no two ranks, each with its own label; and whether they came in the neutral order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dlcompare.core.data.given import Delivered, Given

if TYPE_CHECKING:
    from dlcompare.core.plugins.job import Job

    from .result import RankResult


def wrong_samples(ranks: Sequence[RankResult]) -> str | None:
    """Return why ranks did not get the samples they should get; None if they did, or if no rank can tell."""
    return next(_faults([(one.rank, one.given) for one in ranks if one.given]), None)


def _faults(found: Sequence[tuple[int, Given]]) -> Iterator[str]:
    for rank, given in found:
        if twice := [row for row, count in Counter(given.rows).items() if count > 1]:
            yield (f"rank {rank}'s input pipeline gave {len(twice)} samples twice in one epoch, such as number "
                   f"{twice[0]}")
        if given.mislabelled:
            yield f"rank {rank}'s input pipeline gave {given.mislabelled} samples with another label than the data have"
    for (one, mine), (other, theirs) in combinations(found, 2):
        if both := set(mine.rows) & set(theirs.rows):
            yield (f"ranks {one} and {other} were both given {len(both)} samples in one epoch, such as number "
                   f"{min(both)}: the input pipeline does not divide the data")


def told(job: Job, ranks: Sequence[RankResult]) -> dict[str, Any]:
    """Return the fields of a record that say what pipelines gave; none if they were the neutral one."""
    from dlcompare.core.data.order import is_neutral, rows_sha256  # late: it needs NumPy

    all_given = [one.given for one in ranks if one.given]
    if not all_given or len(all_given) < len(ranks):
        return {}
    first, samples = ranks[0], all_given[0].samples
    shares = [_steps(given.rows, one.samples_per_step) for one, given in zip(ranks, all_given, strict=True)]
    order = [row for step in zip(*shares, strict=False) for share in step for row in share]
    neutral, steps = is_neutral(order, samples, job.seed), min(map(len, shares))
    words = "the neutral order" if neutral else "not the neutral order"
    own = {**first.settings.own, "input_delivered": f"each sample once, with its own label; {words}"}
    found = Delivered(samples, sum(len(given.rows) for given in all_given), steps, rows_sha256(order), neutral)
    return {"delivered": found, "settings": replace(first.settings, own=own),
            "sample_order_sha256": first.sample_order_sha256 if neutral else begun(job, first, order)}


def begun(job: Job, first: RankResult, order: Sequence[int]) -> str:
    """Return a hash for an order that is not the neutral one: of what decides it, and of the samples of as many steps
    as every such job has taken, that two of them may be compared.
    """
    import hashlib  # late: OpenSSL takes a fiftieth of a start-up

    from dlcompare.core.data.order import rows_sha256

    size = job.warmup_steps * first.samples_per_step * first.world
    text = f"{first.sample_order_sha256} {first.settings.own.get('input_order')} {rows_sha256(order[:size])}"
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(rows: Sequence[int], share: int) -> list[Sequence[int]]:
    """Return the samples of each whole step of a rank."""
    return [rows[at:at + share] for at in range(0, len(rows) - share + 1, share)]
