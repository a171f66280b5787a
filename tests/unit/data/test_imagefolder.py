"""Image folders: what is refused beforehand, what a batch holds, and what happens when files or processes break."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from dlcompare.core.data.feed import Feed
from dlcompare.core.data.images import decode, imagefolder
from dlcompare.core.data.images.dataset import Images, normalise
from dlcompare.core.data.images.listing import listing
from dlcompare.core.data.images.loaders import Loader
from dlcompare.core.data.order import Sampler, order_sha256
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.graph import Input

INPUTS = {"image": Input((3, 24, 24)), "label": Input((), "int64", "label", 10)}
CLASSES = {"bee": ["2.JPEG", "10.jpg", "1.jpeg"], "ant": ["x.png", "y.jpg"], "cat": ["only.PNG"]}


def fill(folder: Path, classes: dict[str, list[str]]) -> Path:
    """Write one small random picture per name, each class in its folder."""
    noise = np.random.default_rng(0)
    for name, files in classes.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            Image.fromarray(noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name / file)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    fill(folder / "train", CLASSES)
    fill(folder / "val", {"cat": ["v.jpg"], "bee": ["w.jpg"]})
    (folder / "train" / "bee" / ".hidden.jpg").write_text("passed over")
    (folder / "train" / "bee" / "notes.txt").write_text("passed over")
    return folder


def opened(root: Path, *, train: bool = True, loaders: int = 1, seed: int = 0) -> Images:
    return imagefolder.open_dataset(str(root), INPUTS, seed=seed, train=train, loaders=loaders)


@pytest.fixture
def dataset(root: Path) -> Iterator[Images]:
    with closing(opened(root)) as data:
        yield data


def loader_pids(dataset: Images) -> list[int]:
    return [loader.process.pid for loader in dataset._loaders._started]


def gone(pid: int, *, within: float = 10) -> bool:
    """Wait for a process that need not be our child to end."""
    deadline = time.monotonic() + within
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_samples_are_sorted_by_class_then_file(root: Path) -> None:
    found = listing(root, train=True)
    assert found.names == [f"train/{name}" for name in ("ant/x.png", "ant/y.jpg", "bee/1.jpeg", "bee/10.jpg",
                                                        "bee/2.JPEG", "cat/only.PNG")]
    assert found.labels == [0, 0, 1, 1, 1, 2]


def test_evaluation_numbers_classes_as_training_does_though_some_are_missing(root: Path) -> None:
    with closing(opened(root, train=False)) as data:
        batch = data.batch(np.arange(2), epoch=0)
    assert batch["label"].tolist() == [1, 2]
    pixels = decode.read(str(root / "val" / "bee" / "w.jpg"), size=(24, 24), draws=None)
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    expected = (pixels / 255 - mean) / deviation
    np.testing.assert_allclose(batch["image"][0], expected, atol=1e-6)
    assert batch["image"].dtype == np.float32 and batch["label"].dtype == np.int64


def test_without_train_and_val_one_folder_serves_both(root: Path) -> None:
    for train in (True, False):
        with closing(opened(root / "train", train=train)) as data:
            assert data.size == 6


def test_samples_left_out_leave_the_others_as_they_are(root: Path, dataset: Images) -> None:
    """A skipped sample changes the numbers of those after it, and so their crops; what evaluation reads it cannot."""
    with closing(dataset.without(["train/ant/y.jpg", "val/cat/v.jpg"])) as fewer:
        assert (fewer.size, list(fewer.names)) == (5, [name for name in dataset.names if name != "train/ant/y.jpg"])
        with closing(dataset.unaugmented()) as whole, closing(fewer.unaugmented()) as rest:
            one, other = whole.batch(np.array([0, 2, 5]), epoch=0), rest.batch(np.array([0, 1, 4]), epoch=3)
            assert all(np.array_equal(one[name], other[name]) for name in one)
    assert order_sha256(5, 0, names=fewer.names) != order_sha256(5, 0, names=dataset.names[:5]) != order_sha256(5, 0)


def test_what_is_read_unaugmented_is_the_evaluation_view(root: Path) -> None:
    with closing(opened(root).unaugmented()) as data:
        pixels = decode.read(str(root / "train" / "ant" / "x.png"), size=(24, 24), draws=None)
        assert np.array_equal(data.batch(np.arange(1), epoch=0)["image"][0], normalise(pixels[None])[0])


def test_what_is_no_image_is_counted_and_one_folder_for_both_splits_is_told(root: Path) -> None:
    with closing(opened(root)) as data:
        assert (dict(data.passed_over), data.one_split) == ({".txt": 1}, False)
    with closing(opened(root / "train")) as data:
        assert data.one_split


def test_pixels_depend_on_seed_epoch_and_index_only(root: Path) -> None:
    everything = np.arange(6)
    with closing(opened(root)) as one, closing(opened(root, loaders=2)) as two, closing(opened(root, seed=1)) as other:
        images = one.batch(everything, epoch=0)["image"]
        assert np.array_equal(two.batch(everything, epoch=0)["image"], images)
        assert np.array_equal(two.batch(everything[[5, 0]], epoch=0)["image"], images[[5, 0]])
        assert not np.array_equal(one.batch(everything, epoch=1)["image"], images)
        assert not np.array_equal(other.batch(everything, epoch=0)["image"], images)
        assert (len(loader_pids(one)), len(loader_pids(two))) == (1, 2)


def test_a_feed_gives_what_single_batches_give(dataset: Images) -> None:
    sampler = Sampler(dataset.size, seed=0, rank=0, world=1, batch=5)
    with Feed(dataset, sampler, lambda batch: batch) as feed:
        for (epoch, indices), batch in zip(sampler, (next(feed) for _ in range(4)), strict=False):
            expected = dataset.batch(indices, epoch=epoch)
            assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_loaders_start_at_the_first_batch_and_end_with_close(root: Path) -> None:
    data = opened(root)
    assert loader_pids(data) == []
    data.batch(np.arange(1), epoch=0)
    [pid] = loader_pids(data)
    assert psutil.pid_exists(pid)
    data.close()
    assert not psutil.pid_exists(pid)


def spoil(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"<html>not found</html>"}[kind])


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "missing"])
@pytest.mark.parametrize("file", ["a.jpg", "b.png"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str, file: str) -> None:
    fill(tmp_path, {"dog": ["a.jpg", "b.png"], "eel": ["good.jpg"]})
    with closing(opened(tmp_path)) as data:
        bad = tmp_path / "dog" / file
        bad.unlink() if kind == "missing" else spoil(bad, kind)
        with pytest.raises(JobError, match=f"cannot read the image {bad}: .+"):
            data.batch(np.arange(3), epoch=0)
        assert data.batch(np.array([2]), epoch=0)["label"].tolist() == [1]  # the loader lives on


def test_a_killed_loader_fails_the_batch_and_every_later_one(dataset: Images) -> None:
    dataset.batch(np.arange(1), epoch=0)
    os.kill(loader_pids(dataset)[0], signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(JobError, match=r"loader process \d+ was killed by SIGKILL"):
            dataset.batch(np.arange(6), epoch=0)


def test_a_loader_killed_in_the_middle_of_its_reply_hangs_nobody(root: Path) -> None:
    loader = Loader(json.dumps({"size": [600, 600], "seed": 0, "train": False}))
    request = json.dumps({"epoch": 0, "samples": [[str(root / "train" / "ant" / "x.png"), 0]]})
    assert json.loads(loader._header(request)) == {"error": None}  # it now writes more than a pipe holds
    loader.process.kill()
    with pytest.raises(JobError, match="killed by SIGKILL"):
        loader._pixels(np.empty((1, 3, 600, 600), np.uint8))
    loader.stop()


def test_a_loader_that_cannot_start_says_where_to_look(capfd: pytest.CaptureFixture[str]) -> None:
    loader = Loader(json.dumps({"bogus": 1}))
    with pytest.raises(JobError, match=r"ended with exit code 1 .* the job's log has its last words"):
        loader.ask("{}", np.empty((1, 3, 2, 2), np.uint8))
    loader.stop()
    assert "bogus" in capfd.readouterr().err


def test_loaders_do_not_outlive_a_killed_worker(root: Path) -> None:
    program = f"""
import sys, time, numpy as np
sys.path[:] = {sys.path!r}
from dlcompare.core.data.images import imagefolder
from dlcompare.core.graph import Input
inputs = {{"image": Input((3, 24, 24)), "label": Input((), "int64", "label", 10)}}
data = imagefolder.open_dataset({str(root)!r}, inputs, seed=0, train=True, loaders=2)
data.batch(np.arange(6), epoch=0)
assert "PIL" not in sys.modules
print(*[loader.process.pid for loader in data._loaders._started], flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        worker.kill()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("folders, message", [
    ({}, r"has no class folders; expected .*/CLASS/\*\.jpg"),
    ({"train": {"ant": ["a.jpg"], "bee": []}}, r"class folder .*/train/bee holds no image"),
    ({"train": {"ant": ["a.jpg"]}, "val": {"ant": []}}, r"class folder .*/val/ant holds no image"),
    ({"train": {"ant": ["a.jpg"]}, "val": {"bee": ["b.jpg"]}}, r"val/bee has no counterpart among the 1 training"),
    ({"val": {"ant": ["a.jpg"]}}, r"has a folder 'val' but no 'train'"),
    ({".": {f"c{i:02}": ["a.jpg"] for i in range(11)}}, "has 11 classes, but this model tells only 10 apart"),
])
def test_a_folder_that_cannot_do_is_refused(tmp_path: Path, folders: dict[str, dict[str, list[str]]],
                                            message: str) -> None:
    for name, classes in folders.items():
        fill(tmp_path / name, classes)
    with pytest.raises(UsageError, match=message):
        imagefolder.check(str(tmp_path), INPUTS)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"there is no folder {tmp_path / 'nowhere'}"):
        imagefolder.check(str(tmp_path / "nowhere"), INPUTS)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="there is no folder"):
        imagefolder.check(str(tmp_path / "file"), INPUTS)


def test_evaluation_without_a_val_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"ant": ["a.jpg"]})
    imagefolder.check(str(tmp_path), INPUTS)
    with pytest.raises(UsageError, match="has a folder 'train' but no 'val'"):
        opened(tmp_path, train=False)


def test_a_grey_model_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="gives 3 channels, but this model reads 1"):
        imagefolder.check(str(root), {"image": Input((1, 24, 24)), "label": INPUTS["label"]})


def test_a_home_folder_may_be_abbreviated(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert imagefolder.root_folder("~/train") == root / "train"
