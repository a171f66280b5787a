"""Images of more than 8 bits: scaled by the range their file defines, or refused by name; never clipped in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, features

from dlcompare.core.data.images import decode

RAMP = np.tile(np.linspace(0, 1, 24), (24, 1))  # black to white


def grey(path: Path) -> np.ndarray:
    """Return the image as a worker sees it, one channel of the three, which must be the same."""
    pixels = decode.read(str(path), size=(21, 21), draws=None)  # of 24 x 24: no pixel is interpolated
    assert np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[0], pixels[2])
    return pixels[0]


def eight_bits(path: Path) -> np.ndarray:
    """Return what the same picture in 8 bits gives."""
    Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).save(path)
    return grey(path)


def tiff(path: Path, pixels: np.ndarray, tags: dict[int, tuple[int, Any]] | None = None) -> Path:
    """Write a TIFF; ``tags`` are types and values by number."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, (kind, value) in (tags or {}).items():
        info.tagtype[tag] = kind
        info[tag] = value
    Image.fromarray(pixels).save(path, tiffinfo=info)
    return path


def rewritten(path: Path, tag: int, value: int) -> Path:
    """Change the value of a tag that Pillow writes as it sees fit, in a little-endian file."""
    whole = bytearray(path.read_bytes())
    begin = int.from_bytes(whole[4:8], "little")
    for entry in range(begin + 2, begin + 2 + 12 * int.from_bytes(whole[begin:begin + 2], "little"), 12):
        if int.from_bytes(whole[entry:entry + 2], "little") == tag:
            whole[entry + 8:entry + 10] = value.to_bytes(2, "little")
    path.write_bytes(whole)
    return path


DEEP: dict[str, tuple[str, np.ndarray]] = {
    "16-bit PNG": ("x.png", (RAMP * 65535).astype(np.uint16)),
    "16-bit TIFF": ("x.tif", (RAMP * 65535).astype("<u2")),
    "16-bit TIFF, big-endian": ("x.tif", (RAMP * 65535).astype(">u2")),
}


@pytest.mark.parametrize("case", DEEP)
def test_sixteen_bits_scale_by_what_sixteen_bits_hold(tmp_path: Path, case: str) -> None:
    name, pixels = DEEP[case]
    Image.fromarray(pixels).save(tmp_path / name)
    np.testing.assert_allclose(grey(tmp_path / name), eight_bits(tmp_path / "8.png"), atol=1)


def test_a_deep_portable_greymap_scales_by_its_own_largest_value(tmp_path: Path) -> None:
    pixels = np.rint(RAMP * 4095).astype(">u2")
    (tmp_path / "x.pgm").write_bytes(b"P5 24 24 4095\n" + pixels.tobytes())
    np.testing.assert_allclose(grey(tmp_path / "x.pgm"), eight_bits(tmp_path / "8.png"), atol=1)


def test_twelve_bits_of_a_tiff_that_says_so_scale_by_4095(tmp_path: Path) -> None:
    """Two samples lie in three bytes."""
    values = np.rint(RAMP * 4095).astype(np.uint16).reshape(-1, 2)
    packed = np.stack([values[:, 0] >> 4, (values[:, 0] & 15) << 4 | values[:, 1] >> 8, values[:, 1] & 255], axis=1)
    file = tiff(tmp_path / "x.tif", np.zeros((24, 24), np.uint16))
    with Image.open(file) as image:
        [begin] = image.tag_v2[273]
    whole = bytearray(file.read_bytes())
    whole[begin:begin + packed.size] = packed.astype(np.uint8).tobytes()
    file.write_bytes(whole)
    rewritten(rewritten(file, 258, 12), 279, packed.size)
    np.testing.assert_allclose(grey(file), eight_bits(tmp_path / "8.png"), atol=1)


def test_a_deep_tiff_whose_zero_is_white(tmp_path: Path) -> None:
    file = rewritten(tiff(tmp_path / "x.tif", ((1 - RAMP) * 65535).astype(np.uint16)), 262, 0)
    np.testing.assert_allclose(grey(file), eight_bits(tmp_path / "8.png"), atol=1)


@pytest.mark.parametrize(("pixels", "kind", "low", "high"), [
    ((RAMP * 4095).astype(np.uint16), 3, 0, 4095),
    ((RAMP * 3000 - 1000).astype(np.int32), 9, -1000, 2000),
    (RAMP.astype(np.float32), 12, 0.0, 1.0),
])
def test_a_tiff_that_states_its_range_is_scaled_by_it(tmp_path: Path, pixels: np.ndarray, kind: int, low: Any,
                                                      high: Any) -> None:
    file = tiff(tmp_path / "x.tif", pixels, {340: (kind, low), 341: (kind, high)})
    np.testing.assert_allclose(grey(file), eight_bits(tmp_path / "8.png"), atol=1)


@pytest.mark.parametrize("pixels", [RAMP.astype(np.float32), (RAMP * 2**30).astype(np.int32)])
def test_no_range_is_guessed(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"32-bit .*SMinSampleValue.*8 or 16 bits"):
        grey(tiff(tmp_path / "x.tif", pixels))


def test_a_float_image_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"Pf 24 24 -1.0\n" + RAMP.astype("<f4").tobytes())
    with pytest.raises((ValueError, OSError), match=r"mode F of a PPM file|cannot identify"):
        grey(tmp_path / "x.ppm")


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        grey(tiff(tmp_path / "x.tif", pixels, {340: (12, 0.0), 341: (12, 1.0)}))


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp", *(["x.avif"] if features.check("avif") else [])])
def test_no_format_is_turned_by_its_orientation(tmp_path: Path, name: str, turn: int) -> None:
    """As torchvision's ImageFolder reads them; Pillow itself turns TIFFs alone."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = turn
    picture.save(tmp_path / name)
    plain = decode.read(str(tmp_path / name), size=(24, 24), draws=None)
    picture.save(tmp_path / name, exif=exif)
    with Image.open(tmp_path / name) as image:
        assert image.getexif()[274] == turn
    assert np.array_equal(decode.read(str(tmp_path / name), size=(24, 24), draws=None), plain)
