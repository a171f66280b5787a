"""The order of samples is the seed's alone, and ranks share it out without overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcompare.core.data.order import Sampler, epoch_order, in_order, is_neutral, order_sha256, rows_sha256
from dlcompare.core.data.streams import normal, raw, uniform
from dlcompare.core.errors import UsageError


@settings(deadline=None)
@given(size=st.integers(1, 500), seed=st.integers(0, 2**63), epoch=st.integers(0, 2**31))
def test_an_epoch_holds_every_sample_once(size: int, seed: int, epoch: int) -> None:
    order = epoch_order(size, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(size))


def test_seeds_and_epochs_differ_and_repeat() -> None:
    orders = [tuple(epoch_order(100, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert orders[0] == tuple(epoch_order(100, seed=0, epoch=0))


def test_the_order_is_the_one_of_every_numpy() -> None:
    """These were computed under NumPy 1.23.5 and 2.4 alike; another value makes old records incomparable."""
    assert epoch_order(8, seed=1, epoch=2).tolist() == [4, 2, 6, 7, 3, 5, 1, 0]
    assert order_sha256(1437, 0) == "d80ae3dfd72edaf520a1e34ae127855da6b88883bd0fabe72d3a00d927288fc8"


def test_an_order_is_neutral_as_far_as_it_goes() -> None:
    whole = epoch_order(8, seed=1, epoch=0).tolist()
    assert is_neutral(whole, 8, 1) and is_neutral(whole[:3], 8, 1)
    for other in (whole[::-1], whole[1:], [*whole, whole[0]]):
        assert not is_neutral(other, 8, 1)


def test_what_came_has_the_hash_of_the_order_it_came_in() -> None:
    names = [f"{number}.jpg" for number in range(8)]
    whole = epoch_order(8, seed=1, epoch=0)
    assert rows_sha256(whole.tolist(), names=names) == order_sha256(8, 1, names=names)
    assert rows_sha256(whole[::-1], names=names) != rows_sha256(whole, names=names) != rows_sha256(whole)


def one_epoch(size: int, *, world: int, batch: int, epoch: int) -> list[list[np.ndarray]]:
    """Return the indices of every step of an epoch, by rank."""
    samplers = [iter(Sampler(size, seed=5, rank=rank, world=world, batch=batch)) for rank in range(world)]
    steps = size // (world * batch)
    shares = [list(itertools.islice(sampler, steps * epoch, steps * (epoch + 1))) for sampler in samplers]
    assert {number for share in shares for number, _ in share} == {epoch}
    return [[indices for _, indices in share] for share in shares]


@settings(max_examples=50, deadline=None)
@given(world=st.integers(1, 4), batch=st.integers(1, 5), spare=st.integers(0, 30), epoch=st.integers(0, 2))
def test_ranks_cover_the_global_order_without_overlap(world: int, batch: int, spare: int, epoch: int) -> None:
    size = world * batch + spare
    shares = one_epoch(size, world=world, batch=batch, epoch=epoch)
    steps = [np.concatenate(step) for step in zip(*shares, strict=True)]
    kept = size - size % (world * batch)  # the short last global batch is dropped
    assert np.concatenate(steps).tolist() == epoch_order(size, seed=5, epoch=epoch)[:kept].tolist()


def test_the_samples_of_a_step_do_not_depend_on_the_number_of_workers() -> None:
    one, four = one_epoch(50, world=1, batch=8, epoch=1), one_epoch(50, world=4, batch=2, epoch=1)
    assert [step.tolist() for step in one[0]] == [np.concatenate(step).tolist() for step in zip(*four, strict=True)]


def test_a_dataset_smaller_than_one_step_is_refused() -> None:
    with pytest.raises(UsageError, match=r"has 15 samples.*2 x 8.*needs 16; lower --batch or --workers"):
        Sampler(15, seed=0, rank=0, world=2, batch=8)
    assert Sampler(16, seed=0, rank=0, world=2, batch=8).steps == 1


def test_a_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank must be from 0 to 1"):
        Sampler(16, seed=0, rank=2, world=2, batch=1)


def test_evaluation_goes_in_order_and_keeps_the_short_last_batch() -> None:
    batches = [(epoch, indices.tolist()) for epoch, indices in in_order(5, batch=2)]
    assert batches == [(0, [0, 1]), (0, [2, 3]), (0, [4])]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed must be 0 or greater, not -1"):
        epoch_order(4, seed=-1, epoch=0)


def test_streams_differ_by_key_and_keys_do_not_run_together() -> None:
    keys = [(0, 1), (1, 0), (0, 1, 0), (0,)]
    assert len({tuple(raw(2, seed=0, key=key)) for key in keys}) == len(keys)


def test_uniform_and_normal_have_their_moments() -> None:
    flat, bell = uniform(20000, seed=0, key=(9,)), normal(20000, seed=0, key=(9,))
    assert flat.min() >= 0 and flat.max() < 1
    assert flat.mean() == pytest.approx(0.5, abs=0.01)
    assert bell.dtype == np.float32
    assert (bell.mean(), bell.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
