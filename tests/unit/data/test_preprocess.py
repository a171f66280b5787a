"""Images as other people's networks want them, against the arithmetic written out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcompare.core.data.preprocess import Preprocessed, Preprocessing
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.registry import plugins

COLOUR = (200, 100, 50)
LABEL = Input((), "int64", "label")
FIRST, LAST, GREY = Input((3, 8, 12)), Input((8, 12, 3)), Input((1, 8, 12))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (20, 20), COLOUR).save(tmp_path / "one" / "a.png")
    return f"imagefolder:{tmp_path}"


def read(data: str, how: Preprocessing, image: Input) -> np.ndarray:
    """Return the first image as the network gets it."""
    inputs: Mapping[str, Input] = {"x": image, "label": LABEL}
    kind, argument = plugins().dataset(data)
    how = how.fitted(inputs)
    how.check(kind.pixels, inputs, data=data)
    opened = kind.open(argument, how.data_inputs(inputs), seed=0, train=False, loaders=1, **how.view)
    found = Preprocessed(opened, inputs, how, kind.pixels)
    try:
        value = found.batch(np.array([0]), epoch=0)["x"][0]
    finally:
        found.close()
    assert value.shape == image.shape and value.dtype == np.float32 and value.flags.c_contiguous
    return value


def scaled(values: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], white: float = 1.0) -> list[float]:
    return [(value / 255 * white - m) / s for value, m, s in zip(values, mean, std, strict=True)]


@pytest.mark.parametrize(("how", "image", "wanted"), [
    (Preprocessing(), FIRST, scaled(COLOUR, MEAN, STD)), (Preprocessing(), LAST, scaled(COLOUR, MEAN, STD)),
    (Preprocessing(layout="nhwc"), LAST, scaled(COLOUR, MEAN, STD)),
    (Preprocessing(channels="bgr"), FIRST, scaled(COLOUR, MEAN, STD)[::-1]),
    (Preprocessing(channels="bgr", mean=(103.9, 116.8, 123.7), std=(1.0,), white=255.0), LAST,
     scaled(COLOUR[::-1], (103.9, 116.8, 123.7), (1.0,) * 3, 255.0)),
    (Preprocessing(mean=(0.5,), std=(0.25,)), FIRST, scaled(COLOUR, (0.5,) * 3, (0.25,) * 3)),
    (Preprocessing(channels="grey", mean=(0.5,), std=(0.25,)), GREY, scaled((124,), (0.5,), (0.25,))),
])
def test_pixels_are_what_was_asked_for(folder: str, how: Preprocessing, image: Input, wanted: list[float]) -> None:
    value = read(folder, how, image)
    channels = value if image is not LAST else value.transpose(2, 0, 1)
    np.testing.assert_allclose(channels, np.broadcast_to(np.array(wanted)[:, None, None], channels.shape), atol=0.01)


@pytest.mark.parametrize(("crop", "edge"), [(None, False), (0.8, False), (1.0, True)])
def test_the_crop_is_of_the_share_that_was_asked_for(tmp_path: Path, crop: float | None, edge: bool) -> None:
    """A white frame of less than a tenth of the side is whole if nothing is cut off, and gone if a fifth is."""
    image = Image.new("RGB", (100, 100), "white")
    image.paste((0, 0, 0), (8, 8, 92, 92))
    (tmp_path / "one").mkdir()
    image.save(tmp_path / "one" / "a.png")
    value = read(f"imagefolder:{tmp_path}", Preprocessing(mean=(0.0,), std=(1.0,), crop=crop), Input((3, 50, 50)))
    assert (value[0, 0].min() > 0.9) == edge
    assert (value.max() > 0.05) == (crop != 0.8)


@pytest.mark.parametrize("crop", [None, 0.8])
def test_an_image_may_be_squashed_instead_of_cut(tmp_path: Path, crop: float | None) -> None:
    """As by torchvision's Resize((h, w)), then CenterCrop where a crop is asked for."""
    (tmp_path / "one").mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 30, 3), dtype=np.uint8))
    image.save(tmp_path / "one" / "a.png")
    how = Preprocessing(mean=(0.0,), std=(1.0,), crop=crop, resize="squash")
    wanted = (image.resize((40, 20), Image.Resampling.BILINEAR) if crop is None else
              image.resize((50, 25), Image.Resampling.BILINEAR).crop((5, 2, 45, 22)))
    np.testing.assert_allclose(read(f"imagefolder:{tmp_path}", how, Input((3, 20, 40))).transpose(1, 2, 0),
                               np.asarray(wanted) / 255, atol=1e-6)


def test_digits_may_have_their_channels_last() -> None:
    np.testing.assert_array_equal(read("digits", Preprocessing(), LAST).transpose(2, 0, 1),
                                  read("digits", Preprocessing(), FIRST))


@pytest.mark.parametrize(("how", "image", "said"), [
    (Preprocessing(mean=(0.5,)), FIRST, "--mean and --std go together"),
    (Preprocessing(mean=(0.5,), std=(0.0,)), FIRST, "a deviation is above 0"),
    (Preprocessing(mean=(124.0,), std=(58.0,)), FIRST, "beyond pixels from 0 to 1; add --pixels 255"),
    (Preprocessing(white=255.0), FIRST, "need --mean and --std"),
    (Preprocessing(channels="grey"), GREY, "need --mean and --std"),
    (Preprocessing(), GREY, "reads 1 channel; add --channels grey"),
    (Preprocessing(mean=(0.5, 0.5), std=(0.5,)), FIRST, "the network reads 3, not 2")])
def test_what_does_not_fit_is_refused(folder: str, how: Preprocessing, image: Input, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(folder, how, image)


def test_data_that_is_normalised_by_its_own_rule_takes_no_other() -> None:
    with pytest.raises(UsageError, match="digits is made by rules of its own"):
        read("digits", Preprocessing(mean=(0.5,), std=(0.5,)), FIRST)
    with pytest.raises(UsageError, match=r"--resize .* are for images from files"):
        read("digits", Preprocessing(resize="squash"), FIRST)


@pytest.mark.parametrize(("how", "words"), [
    (Preprocessing("nchw"), "resized .* 224/256 .*; RGB, channels first; pixels from 0 to 1, mean 0.485,0.456,0.406, "
                            "deviation 0.229,0.224,0.225"),
    (Preprocessing("nhwc", "bgr"), "BGR, channels last; .* mean 0.406,0.456,0.485"),
    (Preprocessing("nchw", crop=0.95), "centre crop is 0.95 of the shorter side"),
    (Preprocessing("nchw", resize="squash"), "^squashed .bilinear. to the network's size; RGB"),
    (Preprocessing("nchw", resize="squash", crop=0.875), "^squashed .bilinear. until the centre crop is 0.875 of it"),
    (Preprocessing("nchw", "rgb", (0.0,), (1.0,), 255.0), "pixels from 0 to 255, mean 0, deviation 1")])
def test_a_report_says_what_becomes_of_images(how: Preprocessing, words: str) -> None:
    import re

    assert re.search(words, how.describe(plugins().datasets()["imagefolder"].pixels))
