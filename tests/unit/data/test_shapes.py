"""Generated shapes are a function of seed, split and index, and are as hard as their options say."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcompare.core.data.feed import batch_sha256
from dlcompare.core.data.generated import shapes
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input


def inputs(*, shape: tuple[int, ...] = (3, 32, 32), classes: int = 1000) -> dict[str, Input]:
    return {"image": Input(shape), "label": Input((), "int64", "label", classes)}


def opened(argument: str = "", *, seed: int = 3, train: bool = True, **kwargs: tuple[int, ...]) -> shapes.Shapes:
    return shapes.open_dataset(argument, inputs(**kwargs), seed=seed, train=train, loaders=1)


def images(argument: str = "", *, count: int = 40, first: int = 0, **kwargs: object) -> np.ndarray:
    return opened(argument, **kwargs).batch(np.arange(first, first + count), epoch=0)["image"]  # type: ignore[arg-type]


def pinned() -> str:
    """Return a hash over colour, grey, odd sizes, both splits, every class, with and without noise."""
    parts = [opened("classes=32", seed=7, train=train, shape=shape).batch(np.arange(64), epoch=0)
             for train in (False, True) for shape in ((3, 32, 32), (1, 17, 29))]
    parts.append(opened("noise=0,blend=1").batch(np.arange(64), epoch=0))
    return hashlib.sha256("".join(map(batch_sha256, parts)).encode()).hexdigest()


def test_bits_are_those_of_every_numpy() -> None:
    assert pinned() == "046bcd7bbcaa8d70ecb5881b1842f257d1a1deb63860247eeba62b9b7a6c5991"


def test_another_process_draws_the_same() -> None:
    program = "import test_shapes; print(test_shapes.pinned())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          cwd=__file__.rpartition("/")[0])
    assert done.stdout.strip() == pinned()


def test_an_image_does_not_depend_on_its_batch() -> None:
    data = opened()
    whole = data.batch(np.arange(200), epoch=0)
    order = np.array([150, 3, 3, 199, 64])
    some = data.batch(order, epoch=9)
    assert np.array_equal(some["image"], whole["image"][order])
    assert np.array_equal(some["label"], whole["label"][order])


def test_images_differ_between_samples_seeds_and_splits() -> None:
    drawn = np.concatenate([images(), images(first=40), images(seed=4), images(train=False)])
    assert len({image.tobytes() for image in drawn}) == 160


def test_splits_have_independent_noise() -> None:
    train, test = (images("noise=10", train=train).ravel() for train in (True, False))
    assert abs(np.corrcoef(train, test)[0, 1]) < 0.02


def test_sizes_and_label_balance() -> None:
    assert (opened().size, opened(train=False).size) == (50000, 20000)
    data = opened("train=700,classes=7,test=14")
    counts = np.bincount(data.batch(np.arange(data.size), epoch=0)["label"])
    assert counts.tolist() == [100] * 7
    assert opened("train=700,classes=7,test=14", train=False).size == 14


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (3, 20, 64), (4, 299, 299)])
def test_any_size_and_number_of_channels(shape: tuple[int, ...]) -> None:
    drawn = images(count=3, shape=shape)
    assert (drawn.shape, drawn.dtype) == ((3, *shape), np.float32)
    assert np.isfinite(drawn).all() and drawn.std() > 0.3


def test_a_larger_image_shows_the_same_picture() -> None:
    """Averaged down, 128 pixels nearly equal 32: size changes the sampling, not what is drawn."""
    small, large = (images("noise=0", shape=(3, size, size)) for size in (32, 128))
    assert np.abs(large.reshape(40, 3, 32, 4, 32, 4).mean((3, 5)) - small).mean() < 0.03


def test_edges_are_one_pixel_wide_at_any_size() -> None:
    for size in (16, 128):
        drawn = images("noise=0,blend=0", count=400, shape=(1, size, size))
        jumps = np.abs(np.diff(drawn)).max((1, 2, 3))
        assert np.median(jumps) > 1.2  # of a contrast of 0.6 to 2.2
    assert (np.unique(shapes.coverage(np.linspace(0, 2, 201, dtype=np.float32), np.float32(10))) % 1 > 0).sum() < 11


def test_pixels_are_near_standard_and_noise_adds_its_variance() -> None:
    clean, noisy = images("noise=0", count=400), images("noise=2", count=400)
    assert 0 < clean.mean() < 0.3 and 0.4 < clean.std() < 1.2
    assert (noisy - clean).std() == pytest.approx(2, rel=0.01)


def canonical(label: int) -> np.ndarray:
    """Return the outline filled with its texture, unturned and centred, without anything random."""
    y, x = shapes.grid(64, 64)
    x, y = (np.broadcast_to(array * np.float32(2), (1, 64, 64)) for array in (x, y))
    kind, texture = list(shapes.KINDS.values())[label // 4], list(shapes.TEXTURES.values())[label % 4]
    gauge = kind(x, y)
    return shapes.coverage(gauge, np.float32(16)) * texture(x, y, gauge)


def test_every_class_looks_different() -> None:
    drawn = [canonical(label) for label in range(32)]
    distances = [np.abs(one - two).mean() for place, one in enumerate(drawn) for two in drawn[:place]]
    assert min(distances) > 0.015


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_kinds_have_the_area_of_the_disc(kind: str) -> None:
    label = list(shapes.KINDS).index(kind) * 4
    assert canonical(label).sum() == pytest.approx(canonical(0).sum(), rel=0.03)


def test_blend_mixes_in_other_classes_and_the_ceiling_is_what_the_draws_say() -> None:
    assert not np.array_equal(images("noise=0,blend=0"), images("noise=0,blend=0.8"))
    u, v = np.random.default_rng(0).random((2, 1_000_000))
    for blend in (0.0, 0.4, 0.8, 1.0):
        assert shapes.ceiling(blend) == pytest.approx((blend * np.abs(u - v) <= 0.5).mean(), abs=0.002)


def test_the_nearest_of_the_mean_images_is_far_from_enough() -> None:
    """No pixel gives the class away: templates stay near guessing (0.05)."""
    train, test = (opened("noise=0,blend=0", train=train).batch(np.arange(4000), epoch=0) for train in (True, False))
    means = np.stack([train["image"][train["label"] == label].mean(0) for label in range(20)]).reshape(20, -1)
    flat = test["image"].reshape(4000, -1)
    guesses = ((means**2).sum(1) - 2 * flat @ means.T).argmin(1)
    assert 0.03 < (guesses == test["label"]).mean() < 0.2


@pytest.mark.parametrize(("argument", "message"), [
    ("nois=1", "no option 'nois'; it has: classes, blend, noise, train, test"),
    ("noise=0.5,", "no option ''"),
    ("0.5", "no option '0.5'"),
    ("noise=1,noise=2", "'noise' twice"),
    ("noise=much", "noise must be a number from 0 to 10, not 'much'"),
    ("noise=nan", "noise must be a number from 0 to 10, not 'nan'"),
    ("noise", "noise must be a number"),
    ("blend=1.5", "blend must be a number from 0 to 1"),
    ("classes=1", "classes must be a whole number from 2 to 32, not '1'"),
    ("classes=20.5", "classes must be a whole number"),
    ("classes=33", "from 2 to 32"),
    ("train=0", "train must be a whole number from 1"),
])
def test_wrong_arguments_say_what_is_allowed(argument: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        shapes.check(argument, inputs())
    assert message in str(error.value)


def test_a_model_with_too_few_classes_is_refused() -> None:
    shapes.check("classes=10", inputs(classes=10))
    with pytest.raises(UsageError, match="has 20 classes, but this model tells only 10 apart"):
        shapes.check("", inputs(classes=10))


def test_the_picture_in_the_docs_is_of_these_images(tmp_path: Path) -> None:
    docs = Path(__file__).parents[3] / "docs"
    subprocess.run([sys.executable, docs / "shapes.py", tmp_path / "drawn.png"], check=True)
    drawn, kept = (np.asarray(Image.open(path)) for path in (tmp_path / "drawn.png", docs / "shapes.png"))
    assert np.array_equal(drawn, kept)
