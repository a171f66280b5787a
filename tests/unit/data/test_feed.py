"""The feed keeps order and distance, hands errors on, and ends when told."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlcompare.core.data import Dataset
from dlcompare.core.data.feed import Feed, StreamFeed, batch_sha256
from dlcompare.core.data.generated import synthetic
from dlcompare.core.data.order import Sampler, in_order
from dlcompare.core.data.stream import Drawn
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input


class Counting(Dataset):
    """Batches that hold their own indices; ``before`` runs at the start of each."""

    size = 64

    def __init__(self, before: Callable[[int], Any] = lambda first: None) -> None:
        self._before = before

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        self._before(int(indices[0]))
        return {"x": indices}


def first(batch: dict[str, np.ndarray]) -> int:
    return int(batch["x"][0])


def endless() -> Iterator[tuple[int, np.ndarray]]:
    return ((0, np.array([i])) for i in itertools.count())


def settled(value: Callable[[], int]) -> int:
    """Return a value once it has not changed for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.2:
        if value() != last:
            last, since = value(), time.monotonic()
        time.sleep(0.01)
    return last


def test_batches_come_in_the_samplers_order_though_they_are_prepared_together() -> None:
    hurried = Counting(lambda index: time.sleep(0.01 if index % 4 else 0.03))
    with Feed(hurried, in_order(16, batch=2), first, depth=3) as feed:
        assert list(feed) == list(range(0, 16, 2))


def test_batches_are_prepared_together() -> None:
    meeting = threading.Barrier(3)
    with Feed(Counting(lambda _: meeting.wait(timeout=5)), in_order(6, batch=1), first, depth=3) as feed:
        assert list(feed) == list(range(6))


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_batches_are_placed_ahead(depth: int) -> None:
    placed: list[int] = []
    with Feed(Counting(), endless(), lambda batch: placed.append(first(batch)), depth=depth) as feed:
        next(feed)
        assert settled(lambda: len(placed)) == depth + 1
        next(feed)
        assert settled(lambda: len(placed)) == depth + 2
    assert placed == list(range(depth + 2))


def test_placing_happens_outside_the_consumers_thread() -> None:
    with Feed(Counting(), endless(), lambda batch: threading.current_thread().name) as feed:
        assert next(feed) == "feed"


def test_a_finished_feed_stays_finished() -> None:
    with Feed(Counting(), in_order(1, batch=1), first) as feed:
        assert next(feed) == 0
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(feed)


def fail_at(index: int) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value == index:
            raise JobError("cannot read the image 3.jpg")

    return check


def failing_sampler() -> Iterator[tuple[int, np.ndarray]]:
    yield from itertools.islice(endless(), 3)
    raise JobError("cannot read the image 3.jpg")


def place_until(index: int) -> Callable[[dict[str, np.ndarray]], int]:
    def place(batch: dict[str, np.ndarray]) -> int:
        fail_at(index)(first(batch))
        return first(batch)

    return place


@pytest.mark.parametrize("feed", [
    pytest.param(lambda: Feed(Counting(fail_at(3)), endless(), first), id="dataset"),
    pytest.param(lambda: Feed(Counting(), endless(), place_until(3)), id="place"),
    pytest.param(lambda: Feed(Counting(), failing_sampler(), first, depth=1), id="sampler"),
])
def test_errors_come_out_as_they_were_raised_after_the_batches_before_them(feed: Callable[[], Feed]) -> None:
    with feed() as running:
        assert [next(running) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(JobError, match=r"3\.jpg"):
            next(running)
        with pytest.raises(StopIteration):
            next(running)


def test_close_ends_the_threads_at_once_though_the_line_is_full() -> None:
    before = threading.active_count()
    feed = Feed(Counting(), endless(), first)
    next(feed)
    assert settled(threading.active_count) > before
    begin = time.monotonic()
    feed.close()
    assert time.monotonic() - begin < 1
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(feed)


def test_close_before_the_first_batch_starts_nothing() -> None:
    before = threading.active_count()
    with Feed(Counting(), endless(), first):
        assert threading.active_count() == before


def test_a_resident_dataset_is_placed_once_and_returned_for_ever() -> None:
    data = synthetic.open_dataset("", {"image": Input((1, 4, 4))}, seed=0, train=True, loaders=1)
    calls = itertools.count(1)
    sampler = Sampler(data.size, seed=0, rank=0, world=1, batch=2)
    with Feed(data, sampler, lambda batch: next(calls)) as feed:
        assert [next(feed) for _ in range(5)] == [1] * 5
    assert next(calls) == 2
    expected = data.batch(next(iter(sampler))[1], epoch=0)
    assert feed.first_batch_sha256 == batch_sha256(expected)


def test_the_first_batch_is_the_one_hashed() -> None:
    with Feed(Counting(), in_order(8, batch=4), first) as feed:
        assert feed.first_batch_sha256 is None
        list(feed)
    assert feed.first_batch_sha256 == batch_sha256({"x": np.arange(4)})


def test_the_hash_sees_names_types_shapes_and_values_but_not_strides_or_order() -> None:
    base = {"a": np.arange(6, dtype=np.int64), "b": np.zeros(2)}
    variants: list[dict[str, np.ndarray]] = [
        base,
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].astype(np.uint64), "b": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"] + 1, "b": base["b"]},
    ]
    assert len({batch_sha256(variant) for variant in variants}) == len(variants)
    strided = np.arange(12, dtype=np.int64)[::2] // 2
    assert batch_sha256({"b": base["b"], "a": strided}) == batch_sha256(base)


def test_waiting_for_input_is_counted() -> None:
    with Feed(Counting(lambda _: time.sleep(0.1)), in_order(2, batch=1), first) as feed:
        list(feed)
    assert 0.1 <= feed.waited < 1


def test_a_feed_that_rests_has_prepared_all_that_it_may() -> None:
    begun: list[int] = []
    with Feed(Counting(lambda first: (time.sleep(0.02), begun.append(first))), endless(), first) as feed:
        assert next(feed) == 0
        feed.rest()
        prepared = len(begun)
        assert prepared == 1 + 2 * feed.depth, "those that are ready, and those in preparation"
        time.sleep(0.2)
        assert len(begun) == prepared, "and goes on with nothing"
        assert [next(feed) for _ in range(4)] == [1, 2, 3, 4]


def test_a_feed_with_nothing_to_prepare_rests_at_once() -> None:
    few = ((0, np.array([i])) for i in range(2))
    with Feed(Counting(), few, first) as feed:
        assert list(feed) == [0, 1]
        feed.rest()


def test_alone_counts_what_comes_while_nobody_works_with_it() -> None:
    slow = Counting(lambda index: time.sleep(0.02))
    with Feed(slow, endless(), first, depth=1) as feed:
        next(feed)
        time.sleep(0.2)  # what lies ready now is not counted, or this would come to far more
        found = feed.alone(seconds=0.3)
    assert found is not None and 20 < found < 52


def test_an_input_too_slow_to_wait_for_is_told_by_all_that_came() -> None:
    with Feed(Counting(lambda index: time.sleep(0.15)), endless(), first, depth=4) as feed:
        begin = time.monotonic()
        found = feed.alone(seconds=0.1, most=0.4)
    assert found is not None and found > 1 and time.monotonic() - begin < 3


def test_a_resident_dataset_has_no_rate_of_its_own() -> None:
    dataset = synthetic.open_dataset("", {"image": Input((1, 2, 2))}, seed=0, train=True, loaders=1)
    with Feed(dataset, endless(), lambda batch: batch) as feed:
        next(feed)
        assert feed.alone() is None


def test_a_stream_is_fed_epoch_after_epoch_in_its_own_order() -> None:
    place = np.zeros(1, np.int64)  # one piece of memory for all batches, as a loader's shared memory may be

    class Stream:
        resident, ahead, source = False, 0, SimpleNamespace(label="x")

        def epoch(self, number: int) -> Iterator[Drawn]:
            if number == 2:
                raise JobError("a shard is damaged")
            for place[0] in (3, 1):
                yield Drawn(place, {"x": np.array([10 * number + place[0]])})

    with StreamFeed(Stream(), first) as feed:  # type: ignore[arg-type]  # what a feed needs of one
        assert list(itertools.islice(feed, 4)) == [3, 1, 13, 11]
        assert feed.first_batch_sha256 == batch_sha256({"x": np.array([3])})
        with pytest.raises(JobError, match="a shard is damaged"):
            next(feed)
    assert [(int(rows[0]), int(labels[0])) for rows, labels in feed.given] == [(3, 3), (1, 1)], "of the first epoch"


class Empty:
    """A stream that has no batch to give: each of its processes has fewer samples than one takes."""

    resident, ahead, source = False, 0, SimpleNamespace(loaders=4, batch=32)

    def epoch(self, number: int) -> Iterator[Drawn]:
        yield from ()


def test_a_stream_that_never_gives_a_batch_is_told_and_not_waited_for() -> None:
    with (StreamFeed(Empty(), first) as feed,  # type: ignore[arg-type]
          pytest.raises(JobError, match=r"not one batch of 32 in an epoch.*--loaders")):
        next(feed)


def test_what_a_pipeline_itself_holds_ready_is_not_counted_as_its_rate() -> None:
    class Ready:
        resident, ahead, source = False, 40, SimpleNamespace(label="x")

        def epoch(self, number: int) -> Iterator[Drawn]:
            for row in range(1000):
                if row >= self.ahead:
                    time.sleep(0.01)
                yield Drawn(np.array([row]), {"x": np.array([row])})

    with StreamFeed(Ready(), first) as feed:  # type: ignore[arg-type]
        found = feed.alone(seconds=0.2)
    assert found is not None and 50 < found < 105
