"""Which files of a folder are samples: nested folders, other names of splits, other suffixes, links and loops."""

import os
from pathlib import Path

import pytest

from dlcompare.core.data.images.listing import listing
from dlcompare.core.errors import UsageError


def make(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folders_within_a_class_belong_to_it(tmp_path: Path) -> None:
    make(tmp_path, "cat/b.jpg", "cat/a/z.jpg", "cat/a/deep/er/y.png", "dog/x.jpg")
    found = listing(tmp_path, train=True)
    assert found.names == ["cat/a/deep/er/y.png", "cat/a/z.jpg", "cat/b.jpg", "dog/x.jpg"]
    assert found.labels == [0, 0, 0, 1]


def test_every_suffix_of_an_image_is_read_in_any_case_and_others_are_counted(tmp_path: Path) -> None:
    images = ["a.JPG", "b.jpeg", "c.Png", "d.webp", "e.bmp", "f.tif", "g.TIFF", "h.gif", "i.jfif", "j.jpe", "k.ppm",
              "l.pgm", "m.avif", "n.jp2", "o.j2k", "p.pbm", "q.tga"]
    make(tmp_path, *(f"cat/{name}" for name in images), "cat/notes.txt", "cat/in/more.txt", "cat/README", "labels.csv",
         "cat/.hidden.jpg", "cat/.in/x.jpg")
    found = listing(tmp_path, train=True)
    assert found.names == [f"cat/{name}" for name in images]
    assert found.passed_over == {"": 1, ".csv": 1, ".txt": 2}


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Train", "Val"), ("TRAINING", "Validation"),
                                            ("train", "valid"), ("train", "test")])
def test_splits_have_the_names_that_people_give_them(tmp_path: Path, train: str, val: str) -> None:
    make(tmp_path, f"{train}/ant/a.jpg", f"{train}/bee/b.jpg", f"{val}/bee/c.jpg")
    assert listing(tmp_path, train=True).names == [f"{train}/ant/a.jpg", f"{train}/bee/b.jpg"]
    found = listing(tmp_path, train=False)
    assert (found.names, found.labels) == ([f"{val}/bee/c.jpg"], [1])


def test_of_val_and_test_val_is_meant(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.jpg", "test/ant/b.jpg", "val/ant/c.jpg")
    assert listing(tmp_path, train=False).names == ["val/ant/c.jpg"]


def test_two_folders_that_may_be_meant_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.jpg", "Train/ant/a.jpg")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not tell upper from lower case")
    with pytest.raises(UsageError, match=r"has both .*rain' and .*rain'; remove or rename one"):
        listing(tmp_path, train=True)


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "cat/x.jpg/inside.jpg", "cat/y.jpg")
    (tmp_path / "cat" / "empty.jpg").mkdir()
    assert listing(tmp_path, train=True).names == ["cat/x.jpg/inside.jpg", "cat/y.jpg"]


def test_a_link_that_leads_nowhere_is_a_sample_to_complain_of(tmp_path: Path) -> None:
    make(tmp_path, "cat/y.jpg", "elsewhere/in.jpg")
    (tmp_path / "cat" / "x.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "cat" / "good.jpg").symlink_to("y.jpg")
    assert listing(tmp_path, train=True).names == ["cat/good.jpg", "cat/x.jpg", "cat/y.jpg", "elsewhere/in.jpg"]


def test_a_pipe_is_no_sample(tmp_path: Path) -> None:
    make(tmp_path, "cat/y.jpg")
    os.mkfifo(tmp_path / "cat" / "x.jpg")
    found = listing(tmp_path, train=True)
    assert (found.names, found.passed_over) == (["cat/y.jpg"], {".jpg": 1})


def test_a_link_back_to_the_class_ends(tmp_path: Path) -> None:
    make(tmp_path, "cat/a.jpg", "cat/in/b.jpg", "other/c.jpg")
    (tmp_path / "cat" / "in" / "loop").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "other").symlink_to(tmp_path / "other")
    assert listing(tmp_path, train=True).names == ["cat/a.jpg", "cat/in/b.jpg", "cat/other/c.jpg", "other/c.jpg"]


def test_a_class_without_images_tells_what_is_there(tmp_path: Path) -> None:
    make(tmp_path, "cat/a.heic", "cat/b.heic", "cat/README")
    with pytest.raises(UsageError, match=r"cat holds no image, only 1 without a suffix, 2 \.heic; images are files"):
        listing(tmp_path, train=True)


def test_samples_are_left_out_by_name(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.jpg", "train/bee/a.jpg", "train/bee/b.jpg", "val/bee/b.jpg")
    found = listing(tmp_path, train=True).without(["train/ant/a.jpg", "train/bee/b.jpg", "val/bee/b.jpg"])
    assert (found.names, found.labels, found.classes) == (["train/bee/a.jpg"], [1], 2)
