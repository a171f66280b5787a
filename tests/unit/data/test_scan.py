"""Damaged images are found before a run, each with its reason."""

import math
import os
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, features

from dlcompare.core.data.images import imagefolder, scan
from dlcompare.core.data.images.listing import listing
from dlcompare.core.errors import UsageError

FORMATS = ("jpg", "png", "webp", "bmp", "gif", "tif", "ppm", "pbm", "tga", "jp2", "j2k",
           *(("avif",) if features.check("avif") else ()))
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a good image of every format."""
    (tmp_path / "cat").mkdir()
    for suffix in FORMATS:
        mode = "1" if suffix == "pbm" else "RGB"
        Image.fromarray(NOISE).convert(mode).save(tmp_path / "cat" / f"good.{suffix}")
    return tmp_path


def found(root: Path, seconds: float = math.inf) -> dict[str, str]:
    return imagefolder.scan(str(root), {}, seconds=seconds)


def test_good_images_are_good(root: Path) -> None:
    Image.fromarray(NOISE).convert("P").save(root / "cat" / "p.png", transparency=bytes(range(256)))  # Pillow warns
    assert found(root) == {}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_found(root: Path, suffix: str) -> None:
    whole = (root / "cat" / f"good.{suffix}").read_bytes()
    (root / "cat" / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    assert list(found(root)) == [f"cat/cut.{suffix}"]


def test_each_damage_has_its_reason(root: Path) -> None:
    folder = root / "cat"
    (folder / "empty.jpg").touch()
    (folder / "page.png").write_text("<html>404</html>")
    (folder / "link.jpg").symlink_to("nowhere.jpg")
    (folder / "pipe.jpg").symlink_to(root / "pipe")
    os.mkfifo(root / "pipe")
    Image.fromarray(NOISE[..., 0].astype(np.float32)).save(folder / "float.tif")
    bad = found(root)
    assert {name: reason[:30] for name, reason in bad.items()} == {
        "cat/empty.jpg": "it is empty", "cat/page.png": "it begins like no image that P",
        "cat/link.jpg": "there is no such file; if it i", "cat/pipe.jpg": "it is not a file",
        "cat/float.tif": "it holds 32-bit floating point"}


def test_a_split_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "a.png").touch()
    Image.fromarray(NOISE).save(tmp_path / "train" / "cat" / "a.png")
    with pytest.raises(UsageError, match=r"none of 1 images can be read, such as .*/val/cat/a.png: it is emp"):
        found(tmp_path)


def test_an_image_that_is_too_large_comes_with_advice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # of 2000: beyond twice as many Pillow refuses
    Image.new("L", (9, 9)).save(root / "cat" / "small.png")
    assert all("Make it smaller" in reason for reason in found(root).values()) and len(found(root)) == len(FORMATS)


def test_what_is_found_is_what_a_loader_cannot_read(root: Path) -> None:
    """Scanning decodes a JPEG at an eighth of its size, so the two must be held together."""
    from dlcompare.core.data.images.decode import read

    whole = (root / "cat" / "good.jpg").read_bytes()
    for end in range(2, len(whole), len(whole) // 40):
        (root / "cat" / f"{end:05}.jpg").write_bytes(whole[:end])
    unreadable = set()
    for name in listing(root, train=True).names:
        try:
            read(str(root / name), size=(8, 8), draws=None)
        except Exception:
            unreadable.add(name)
    assert set(found(root)) == unreadable and len(unreadable) > 30


def test_what_was_found_is_remembered_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "cat" / "empty.jpg").touch()
    first = found(root)
    with monkeypatch.context() as patched:
        patched.setattr(scan, "look", lambda path: pytest.fail("a file was looked at again"))
        assert found(root) == first == {"cat/empty.jpg": "it is empty"}
    (root / "cat" / "good.jpg").write_bytes(b"no longer")
    assert sorted(found(root)) == ["cat/empty.jpg", "cat/good.jpg"]


def test_time_that_is_up_ends_it(root: Path) -> None:
    (root / "cat" / "empty.jpg").touch()
    assert found(root, seconds=-1) == {}


def test_twelve_bits_in_sixteen_are_not_taken_for_black_in_silence(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("a.png", "b.tif"):
        Image.fromarray(NOISE[..., 0].astype(np.uint16) << 4).save(tmp_path / "cat" / name)
    with pytest.raises(UsageError, match=r"all 2 images of more than 8 bits .* such as cat/a.png, are next to black"):
        found(tmp_path)
    Image.fromarray(NOISE[..., 0].astype(np.uint16) << 8).save(tmp_path / "cat" / "c.png")
    assert found(tmp_path) == {}  # one that is bright says that the others are dark


def test_samples_are_mixed_over_the_classes(tmp_path: Path) -> None:
    names = [f"{letter}/{number}" for letter in "ab" for number in range(300)]
    places = {name: str(tmp_path / name) for name in names}
    looked = [name for name, _ in scan.looks(places, seconds=math.inf)]
    assert {name[0] for name in looked[:20]} == {"a", "b"}


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_a_format_that_this_pillow_does_not_read_is_a_damage_that_names_pillow(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are the same under every Pillow: what one of them cannot read is left out of all jobs, or of none."""
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "AVIF"])
    assert found(root) == {"cat/good.avif": f"it begins like no image that Pillow {PIL.__version__} knows"}
