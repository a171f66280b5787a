"""What the frameworks' own pipelines gave is in the record; what they should not have given fails it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fabricated import finished, job, ranks

from dlcompare.core.data.given import MOST, Delivered, Given, mislabelled
from dlcompare.core.data.order import epoch_order, rows_sha256
from dlcompare.core.data.stream import Source
from dlcompare.core.kinds.training.result import RankResult, TrainingRecord

SIZE, BATCH = 96, 2
NATIVE = job(pipeline="native", batch=BATCH)
NEUTRAL_ORDER = epoch_order(SIZE, seed=0, epoch=0).tolist()


def shares(order: list[int]) -> list[tuple[int, ...]]:
    """Return what each of two ranks is given of an order, a batch each in turn."""
    return [tuple(row for at in range(0, len(order), 2 * BATCH) for row in order[at:][rank * BATCH:][:BATCH])
            for rank in range(2)]


def results(*rows: tuple[int, ...], wrong: int = 0) -> list[RankResult]:
    return [dataclasses.replace(one, given=Given(SIZE, given, wrong))
            for one, given in zip(ranks(NATIVE), rows, strict=True)]


def record(*rows: tuple[int, ...], **more: Any) -> TrainingRecord:
    return finished(NATIVE, results(*rows, **more))


def test_an_order_of_its_own_is_told_and_has_another_hash() -> None:
    backwards = NEUTRAL_ORDER[::-1]
    made = record(*shares(backwards))
    assert made.delivered == Delivered(SIZE, SIZE, SIZE // 4, rows_sha256(backwards), neutral=False)
    assert made.settings.own["input_delivered"] == "each sample once, with its own label; not the neutral order"
    assert made.sample_order_sha256 not in (None, finished(NATIVE).sample_order_sha256)


def test_the_neutral_order_is_seen_for_what_it_is_across_ranks() -> None:
    made = record(*shares(NEUTRAL_ORDER))
    assert made.delivered and made.delivered.neutral
    assert made.sample_order_sha256 == finished(NATIVE).sample_order_sha256
    other = record(*shares(NEUTRAL_ORDER)[::-1])
    assert other.delivered and not other.delivered.neutral


def test_orders_are_compared_over_the_steps_that_every_job_takes() -> None:
    """A rank that has read further ahead is no other order; one that began with other samples is."""
    backwards = NEUTRAL_ORDER[::-1]
    first, second = shares(backwards)
    whole, part = record(first, second), record(first[:20], second[:24])
    assert part.delivered and (part.delivered.steps, part.delivered.seen) == (10, 44)
    assert part.sample_order_sha256 == whole.sample_order_sha256
    assert record(second, first).sample_order_sha256 != whole.sample_order_sha256


@pytest.mark.parametrize("rows, wrong, words", [
    (((1, 2, 3, 1), (4, 5, 6, 7)), 0, "rank 0's input pipeline gave 1 samples twice in one epoch, such as number 1"),
    (((1, 2, 3, 4), (4, 5, 3, 7)), 0, "ranks 0 and 1 were both given 2 samples in one epoch, such as number 3"),
    (((1, 2, 3, 4), (5, 6, 7, 8)), 3, "rank 0's input pipeline gave 3 samples with another label")])
def test_samples_that_should_not_have_come_fail_the_job(rows: tuple[tuple[int, ...], ...], wrong: int,
                                                        words: str) -> None:
    made = record(*rows, wrong=wrong)
    assert made.status == "failed" and words in str(made.reason) and made.throughput is None


def test_the_neutral_pipeline_has_nothing_to_tell() -> None:
    assert finished(job()).delivered is None and "input_delivered" not in finished(job()).settings.own


def test_a_record_with_it_survives_json() -> None:
    made = record(*shares(NEUTRAL_ORDER))
    assert TrainingRecord.from_json(made.to_json()) == made


def test_labels_are_held_against_the_data_and_long_epochs_are_cut() -> None:
    class Listing:
        names, labels = ["a"] * (MOST + 8), [7] * (MOST + 8)

    source = Source("tfrecord", Listing(), "image", "label", (8, 8), 8, 1)  # type: ignore[arg-type]  # what is read
    batches = [(np.arange(at, at + 8), np.full(8, 7)) for at in range(0, MOST + 8, 8)]
    batches[1][1][3] = 6
    assert mislabelled(batches, source) == 1
    assert Given.of(batches, source) == Given(MOST + 8, tuple(range(MOST)), 1)
