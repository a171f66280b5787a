"""Weights of a loss: the mean of equal shares is the weighted mean over the global batch, for any number of workers."""

from __future__ import annotations

import numpy as np
import pytest

from dlcompare.core.data.feed import Feed
from dlcompare.core.data.generated.synthetic import open_dataset
from dlcompare.core.data.order import Sampler
from dlcompare.core.data.weights import Weighted, balanced, weights_among
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input

INPUTS = {"ids": Input((7,), "int64", "ids", 9), "weight": Input((7,), role="weight")}


def shares(world: int) -> list[dict[str, np.ndarray]]:
    """Return what each rank is fed of the first global batch of 8."""
    dataset = open_dataset("", INPUTS, seed=3, train=True, loaders=1)
    found = []
    for rank in range(world):
        sampler = Sampler(dataset.size, seed=3, rank=rank, world=world, batch=8 // world)
        with Feed(Weighted(dataset, weights_among(INPUTS), rank=rank, world=world), sampler.whole,
                  lambda batch: batch) as feed:
            found.append(next(feed))
    return found


@pytest.mark.parametrize("world", [1, 2, 4])
def test_all_ranks_together_weigh_as_much_as_the_batch_is_large(world: int) -> None:
    found = shares(world)
    assert [len(one["ids"]) for one in found] == [8 // world] * world
    joined = {name: np.concatenate([one[name] for one in found]) for name in INPUTS}
    (whole,) = shares(1)
    assert all(np.array_equal(joined[name], whole[name]) for name in INPUTS)
    assert joined["weight"].sum() == pytest.approx(8)
    losses = np.random.default_rng(0).random((8, 7))
    wanted = (losses * (joined["weight"] > 0)).sum() / (joined["weight"] > 0).sum()
    parts = [(losses[r * 8 // world:(r + 1) * 8 // world] * one["weight"]).sum(1).mean() for r, one in enumerate(found)]
    assert np.mean(parts) == pytest.approx(wanted)


def test_ranks_weigh_unequally_so_a_mean_of_their_own_means_is_another() -> None:
    own = [float(one["weight"].sum()) for one in shares(2)]
    assert own[0] != pytest.approx(own[1], rel=1e-3)


def test_a_batch_in_which_nothing_counts_is_refused() -> None:
    with pytest.raises(JobError, match="add up to"):
        balanced({"weight": np.zeros((4, 2), np.float32)}, ["weight"])
