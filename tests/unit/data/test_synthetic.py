"""Invented samples keep the promises of their roles."""

import numpy as np
import pytest

from dlcompare.core.data.feed import batch_sha256
from dlcompare.core.data.generated import synthetic
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

INPUTS = {
    "ids": Input((16,), "int64", "ids", 30522),
    "segment": Input((16,), "int64", "segment", 2),
    "mask": Input((16,), "int64", "mask"),
    "start": Input((), "int64", "position", 16),
    "image": Input((3, 9, 9)),
}


def batch(count: int = 200, *, seed: int = 3, train: bool = True, first: int = 0) -> dict[str, np.ndarray]:
    data = synthetic.open_dataset("", INPUTS, seed=seed, train=train, loaders=1)
    return data.batch(np.arange(first, first + count), epoch=0)


def test_arrays_have_the_declared_shapes_and_types() -> None:
    for name, array in batch().items():
        assert (array.shape, array.dtype) == ((200, *INPUTS[name].shape), INPUTS[name].dtype)


def test_integers_fill_their_range() -> None:
    drawn = batch()
    assert set(np.unique(drawn["segment"])) == {0, 1}
    assert drawn["ids"].min() >= 0 and 30000 < drawn["ids"].max() < 30522


def test_images_are_normal() -> None:
    image = batch()["image"]
    assert image.mean() == pytest.approx(0, abs=0.02)
    assert image.std() == pytest.approx(1, abs=0.02)


def test_masks_are_prefixes_of_at_least_half_and_positions_lie_within() -> None:
    drawn = batch()
    lengths = drawn["mask"].sum(axis=1)
    assert np.array_equal(drawn["mask"], np.arange(16) < lengths[:, None])
    assert set(lengths) == set(range(8, 17))
    assert np.all(drawn["start"] >= 0) and np.all(drawn["start"] < lengths)
    assert drawn["start"].max() > 8


def test_a_position_obeys_its_own_bound_too() -> None:
    inputs = {"mask": INPUTS["mask"], "start": Input((), "int64", "position", 3)}
    data = synthetic.open_dataset("", inputs, seed=0, train=True, loaders=1)
    assert set(data.batch(np.arange(50), epoch=0)["start"]) == {0, 1, 2}


def test_a_length_is_at_least_half_of_the_longest() -> None:
    data = synthetic.open_dataset("", {"length": Input((), "int64", "length", 8)}, seed=0, train=True, loaders=1)
    assert set(data.batch(np.arange(50), epoch=0)["length"]) == {4, 5, 6, 7}


def test_samples_depend_on_seed_split_and_index_only() -> None:
    assert np.array_equal(batch(4)["image"][2], batch(1, first=2)["image"][0])
    hashes = [batch_sha256(drawn) for drawn in (batch(4), batch(4, seed=4), batch(4, train=False), batch(4, first=4))]
    assert len(set(hashes)) == 4


def test_the_bits_are_those_of_every_numpy() -> None:
    """Computed under NumPy 1.23.5 and 2.4 alike."""
    assert batch_sha256(batch(4)) == "c953f4e755bc0038514114441ce9520f6a9e5379ff4a2f16a2d7a5a2ec894976"


@pytest.mark.parametrize("spec, message", [
    (Input((4,), "float32", "audio"), "cannot fill input 'x' of role 'audio'; it knows: image, mask"),
    (Input((4,), "int64", "ids"), "input 'x' of role 'ids' declares no upper bound"),
    (Input((), "int64", "position"), "input 'x' of role 'position' declares no upper bound"),
])
def test_an_input_that_cannot_be_invented_is_refused(spec: Input, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        synthetic.check("", {"x": spec})


def test_an_argument_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no argument"):
        synthetic.check("big", INPUTS)
