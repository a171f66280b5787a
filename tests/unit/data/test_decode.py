"""The views of an image are those of torchvision's reference recipe."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dlcompare.core.data.images import decode

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


@settings(deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), index=st.integers(0, 1000))
def test_training_crops_lie_within_the_image_and_the_limits(width: int, height: int, index: int) -> None:
    box = decode.random_box(width, height, draws=decode.draws_of(index, seed=0, epoch=0))
    assert 0 <= box.left <= width - box.width and 0 <= box.top <= height - box.height
    assert min(box.width, box.height) > 0
    if min(width, height) > 200 and 0.5 < width / height < 2:  # then no fallback, and rounding is small
        assert 0.08 * 0.95 < box.width * box.height / (width * height) <= 1.01
        assert 0.75 * 0.97 < box.width / box.height < 4 / 3 * 1.03


def test_training_crops_fill_the_limits_evenly() -> None:
    boxes = [decode.random_box(1000, 1000, draws=decode.draws_of(i, seed=0, epoch=0)) for i in range(2000)]
    areas = np.array([box.width * box.height / 1e6 for box in boxes])
    ratios = np.log([box.width / box.height for box in boxes])
    assert (areas.min(), areas.max()) == (pytest.approx(0.08, abs=0.01), pytest.approx(1, abs=0.05))
    assert np.mean(areas < 0.4) == pytest.approx((0.4 - 0.08) / 0.92, abs=0.08)
    assert np.mean(ratios) == pytest.approx(0, abs=0.02)
    assert np.exp([ratios.min(), ratios.max()]) == pytest.approx([3 / 4, 4 / 3], abs=0.01)
    places = np.array([box.left / (1000 - box.width) for box in boxes if box.width < 900])
    assert places.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("width, height, box", [
    (1000, 10, (493, 0, 13, 10)),  # too wide for ten tries: the central box of ratio 4/3
    (10, 1000, (0, 493, 10, 13)),
])
def test_an_extreme_image_falls_back_to_its_centre(width: int, height: int, box: tuple[int, ...]) -> None:
    assert decode.random_box(width, height, draws=np.full(23, 0.9)) == box


def test_the_central_box_of_an_ordinary_image_is_all_of_it() -> None:
    assert decode.central_box(100, 80) == (0, 0, 100, 80)


def test_a_training_view_is_the_crop_resized_and_flipped() -> None:
    draws = decode.draws_of(0, seed=0, epoch=0)
    left, top, width, height = decode.random_box(90, 60, draws=draws)
    for flip in (0.4, 0.6):
        draws[-1] = flip
        crop = PICTURE.crop((left, top, left + width, top + height)).resize((30, 20), Image.Resampling.BILINEAR)
        expected = np.asarray(crop)[:, ::-1] if flip < 0.5 else np.asarray(crop)
        assert np.array_equal(np.asarray(decode.training_view(PICTURE, size=(20, 30), draws=draws)), expected)


def test_half_of_all_views_are_flipped() -> None:
    assert np.mean([decode.draws_of(i, seed=0, epoch=0)[-1] < 0.5 for i in range(1000)]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("wide, high, size, expected", [
    (500, 375, 256, (341, 256)), (375, 500, 256, (256, 341)), (256, 256, 256, (256, 256)), (3, 300, 256, (256, 25600)),
])
def test_evaluation_resizes_the_shorter_side(wide: int, high: int, size: int, expected: tuple[int, int]) -> None:
    assert decode.covering(wide, high, width=size, height=size) == expected


def test_an_evaluation_view_is_the_centre() -> None:
    whole = PICTURE.resize((384, 256), Image.Resampling.BILINEAR)
    expected = whole.crop((80, 16, 80 + 224, 16 + 224))
    view = decode.evaluation_view(PICTURE, size=(224, 224))
    assert np.array_equal(np.asarray(view), np.asarray(expected))
    assert decode.evaluation_view(PICTURE, size=(10, 40)).size == (40, 10)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    PICTURE.convert(mode).save(file)
    pixels = decode.read(str(file), size=(12, 12), draws=None)
    assert (pixels.shape, pixels.dtype) == ((3, 12, 12), np.uint8)
