"""The built-in digits are scikit-learn's, split and resized one fixed way."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dlcompare.core.data.feed import batch_sha256
from dlcompare.core.data.images import digits
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input

IMAGE, LABEL = Input((3, 20, 30)), Input((), "int64", "label", 10)
INPUTS = {"image": IMAGE, "label": LABEL}


def opened(*, train: bool = True, image: Input = IMAGE) -> digits.Digits:
    return digits.open_dataset("", {"image": image, "label": LABEL}, seed=0, train=train, loaders=1)


def test_the_file_holds_what_scikit_learn_holds() -> None:
    images, labels = digits.load()
    theirs = load_digits()
    assert np.array_equal(images, theirs.images) and np.array_equal(labels, theirs.target)


def test_the_splits_are_disjoint_complete_and_in_proportion() -> None:
    _, labels = digits.load()
    train, test = digits.split(labels, train=True), digits.split(labels, train=False)
    assert (len(train), len(test)) == (1437, 360)
    assert sorted([*train, *test]) == list(range(1797))
    assert np.all(np.diff(train) > 0) and np.all(np.diff(test) > 0)
    assert np.abs(np.bincount(labels[test]) - np.bincount(labels) / 5).max() < 1
    assert (opened().size, opened(train=False).size) == (1437, 360)


def test_the_constants_are_those_of_the_training_split() -> None:
    images, labels = digits.load()
    pixels = images[digits.split(labels, train=True)].astype(np.float64)
    assert round(pixels.mean(), 4) == digits.PIXEL_MEAN
    assert round(pixels.std(), 4) == digits.PIXEL_STD


@pytest.mark.parametrize("height, width", [(8, 8), (20, 30), (224, 224), (9, 64)])
def test_resizing_is_bilinear_with_half_pixel_centres(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    ours = digits.bilinear(pixels, rows=digits.taps(8, height), columns=digits.taps(8, width))
    for image, source in zip(ours, pixels, strict=True):
        theirs = Image.fromarray(source).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(image, np.asarray(theirs), atol=2e-6)


def test_shrinking_takes_the_pixels_nearest_to_the_centres() -> None:
    assert digits.taps(8, 4).low.tolist() == [0, 2, 4, 6]
    assert digits.taps(8, 4).weight.tolist() == [0.5] * 4
    assert digits.taps(8, 1)[:2] == (np.array([3]), np.array([4]))


def test_a_batch_holds_the_chosen_samples_in_every_channel() -> None:
    images, labels = digits.load()
    chosen = digits.split(labels, train=False)[[7, 3]]
    batch = opened(train=False, image=Input((2, 8, 8))).batch(np.array([7, 3]), epoch=4)
    assert batch["image"].dtype == np.float32 and batch["label"].dtype == np.int64
    np.testing.assert_allclose(batch["image"][:, 1] * digits.PIXEL_STD + digits.PIXEL_MEAN, images[chosen], atol=1e-5)
    assert np.array_equal(batch["image"][:, 0], batch["image"][:, 1])
    assert batch["label"].tolist() == labels[chosen].tolist()
    assert batch["image"].flags.writeable and batch["image"].flags.c_contiguous


def test_the_pixels_are_those_of_every_numpy() -> None:
    """Computed under NumPy 1.23.5 and 2.4 alike."""
    batch = opened(image=Input((3, 224, 224))).batch(np.arange(8), epoch=0)
    assert batch_sha256(batch) == "4f35c997c303bbec0dc0960a065c881b270dfe8c36463ed712c064ad3f14e8e5"


@pytest.mark.parametrize("inputs, message", [
    ({"ids": Input((8,), "int64", "ids", 99)}, r"this model reads ids \(ids\); use --data synthetic"),
    ({"image": IMAGE}, r"this model reads image \(image\)"),
    ({**INPUTS, "mask": Input((3,), "int64", "mask")}, r"mask \(mask\); use --data synthetic"),
    ({"image": IMAGE, "label": dataclasses.replace(LABEL, high=9)}, "10 classes, but this model tells only 9 apart"),
    ({"image": Input((64,)), "label": LABEL}, r"reads \(64,\) and \(\)"),
    ({"image": IMAGE, "label": Input((5,), "int64", "label", 10)}, r"reads \(3, 20, 30\) and \(5,\)"),
])
def test_a_model_that_does_not_fit_is_refused(inputs: dict[str, Input], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        digits.check("", inputs)


def test_an_argument_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no argument, but got 'small'; write --data digits"):
        digits.check("small", INPUTS)
