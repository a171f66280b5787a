"""No batch that a network cannot use reaches a framework, and what may pass does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from dlcompare.core.data import Dataset, DatasetKind, arrays
from dlcompare.core.data.checked import Checked, check_form, faults, look, open_dataset
from dlcompare.core.errors import JobError
from dlcompare.core.graph import Input

IMAGE, LABEL = Input((1, 2, 2)), Input((), "int64", "label", 10)
INPUTS = {"image": IMAGE, "label": LABEL}


class Held(Dataset):
    """Samples that a test holds in its hand, and how often each was read."""

    def __init__(self, **values: np.ndarray) -> None:
        self.values, self.size = values, len(values["image"])

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return {name: value[indices] for name, value in self.values.items()}


def held(**spoilt: float) -> Held:
    """Return twelve samples; ``image`` or ``label`` is what the fifth holds."""
    image, label = np.ones((12, 1, 2, 2), np.float32), np.arange(12) % 10
    image[5, 0, 1, 1], label[5] = spoilt.get("image", 1), spoilt.get("label", 5)
    return Held(image=image, label=label)


@pytest.mark.parametrize(("spoilt", "why"), [
    ({"image": np.nan}, "'image' holds 1 of 4 values that are not finite"),
    ({"image": -np.inf}, "'image' holds 1 of 4 values that are not finite"),
    ({"label": 10}, "'label' holds 10, and the network takes 0 to 9"),
    ({"label": -1}, "'label' holds -1, and the network takes 0 to 9")])
def test_a_sample_that_cannot_be_used_is_named(spoilt: Mapping[str, float], why: str) -> None:
    data = Checked(held(**spoilt), INPUTS, called="held", split="train/")
    data.batch(np.array([0, 1, 2]), epoch=0)
    with pytest.raises(JobError) as error:
        data.batch(np.array([3, 5]), epoch=0)
    assert str(error.value).startswith(f"sample train/5 of held cannot be used: {why}. Repair")


def test_values_are_looked_at_once_for_each_sample() -> None:
    inner = held()
    data = Checked(inner, INPUTS, called="held")
    data.batch(np.arange(6), epoch=0)
    inner.values["image"][5] = np.nan  # as no dataset does: what was sound stays so
    data.batch(np.arange(6), epoch=1)
    inner.values["image"][6] = np.nan
    with pytest.raises(JobError, match="sample 6 of held"):
        data.batch(np.arange(6, 8), epoch=1)


@pytest.mark.parametrize("batch", [
    {"label": np.zeros(2, np.int64)},
    {"image": np.zeros((2, 1, 2, 1), np.float32), "label": np.zeros(2, np.int64)},
    {"image": np.zeros((1, 1, 2, 2), np.float32), "label": np.zeros(2, np.int64)},
    {"image": np.zeros((2, 1, 2, 2)), "label": np.zeros(2, np.int64)},
    {"image": np.zeros((2, 1, 2, 2), np.float32), "label": np.zeros(2, np.int32)}])
def test_arrays_of_another_shape_or_type_are_refused(batch: Mapping[str, np.ndarray]) -> None:
    with pytest.raises(JobError, match="held gives"):
        check_form(batch, INPUTS, 2, called="held")


def test_a_length_is_one_at_least_and_at_most_the_longest() -> None:
    found = faults({"length": np.array([0, 1, 7, 8])}, {"length": Input((), "int64", "length", 8)})
    assert {row: why.partition("; ")[0].partition(", ")[0] for row, why in found.items()} == {
        0: "'length' holds 0", 3: "'length' holds 8"}


def test_large_finite_numbers_are_finite_though_their_sum_is_not() -> None:
    image = np.full((2, 1, 2, 2), 3e38, np.float32)
    assert faults({"image": image}, {"image": IMAGE}) == {}


def test_words_are_held_against_table_mask_and_length() -> None:
    inputs = {"ids": Input((4,), "int64", "ids", 30), "mask": Input((4,), "int64", "mask"),
              "end": Input((), "int64", "position")}
    good = {"ids": np.full((3, 4), 29), "mask": np.ones((3, 4), np.int64), "end": np.array([0, 3, 3])}
    assert faults(good, inputs) == {}
    good["ids"][0, 2], good["mask"][1, 3], good["end"][2] = 30, 2, 4
    assert {row: why.partition(" ")[0] for row, why in faults(good, inputs).items()} == {
        0: "'ids'", 1: "'mask'", 2: "'end'"}


def test_what_only_its_owner_understands_may_hold_infinity_but_not_nan() -> None:
    given = {"bias": Input((2,), "float32", "given")}
    assert faults({"bias": np.array([[0, -np.inf]], np.float32)}, given) == {}
    assert faults({"bias": np.array([[0, np.nan]], np.float32)}, given).keys() == {0}


def test_bad_samples_of_arrays_are_found_beforehand_and_left_out_by_number(tmp_path: Path) -> None:
    file, bad = tmp_path / "own.npz", held(image=np.nan)
    np.savez(file, **bad.values)
    found = arrays.scan(str(file), INPUTS, seconds=60)
    assert found == {"5": "'image' holds 1 of 4 values that are not finite"}
    kind = DatasetKind("arrays", "", arrays.open_dataset, arrays.check)
    with_all = open_dataset(kind, str(file), INPUTS, seed=0, train=True, loaders=1)
    fewer = open_dataset(kind, str(file), INPUTS, seed=0, train=True, loaders=1, skip=found)
    assert (with_all.size, fewer.size, list(fewer.names)) == (12, 11, [str(n) for n in range(12) if n != 5])
    assert list(fewer.batch(np.arange(11), epoch=0)["label"]) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 0, 1]


class Torn(Held):
    """Samples of which one cannot be read, or none."""

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        if 5 in indices or self.size == 3:
            raise JobError("it is torn")
        return super().batch(indices, epoch=epoch)


def test_a_sample_that_cannot_be_read_is_one_of_the_bad_ones() -> None:
    kind = DatasetKind("torn", "", lambda *_, **__: Torn(**held(label=-1).values), lambda *_: None)
    assert look(kind, "", INPUTS) == {"train/5": "it is torn", "test/5": "it is torn"}
    few = {name: value[:3] for name, value in held().values.items()}
    with pytest.raises(JobError, match="it is torn"):
        look(DatasetKind("torn", "", lambda *_, **__: Torn(**few), lambda *_: None), "", INPUTS)


def test_a_look_ends_in_time() -> None:
    kind = DatasetKind("held", "", lambda *_, **__: held(image=np.nan), lambda *_: None)
    assert look(kind, "", INPUTS, seconds=-1) == {}
    assert look(kind, "", INPUTS).keys() == {"train/5", "test/5"}
