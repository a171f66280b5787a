"""Shards as datasets: the samples of the folder they were made of, to the bit; damaged ones; how shards are made."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.data.feed import batch_sha256
from dlcompare.core.data.order import order_sha256
from dlcompare.core.data.records import prepare as making
from dlcompare.core.data.records.formats import FORMATS
from dlcompare.core.data.records.index import shards_of
from dlcompare.core.data.records.prepare import prepare
from dlcompare.core.data.stream import source_of
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plan.bad_samples import bad_samples
from dlcompare.core.plugins.registry import plugins

INPUTS = {"image": Input((3, 24, 24)), "label": Input((), "int64", "label", 10)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in ("ant", "bee", "cat"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shards(pictures: Path, tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str, source: Path = pictures) -> Path:
        prepare(f"imagefolder:{source}", name, tmp_path / name, shard_bytes=6000)
        return tmp_path / name

    return made


def opened(data: str, *, train: bool = True, skip: tuple[str, ...] = ()) -> Any:
    kind, argument = plugins().dataset(data)
    return open_dataset(kind, argument, INPUTS, seed=3, train=train, loaders=1, skip=skip)


def found(data: str, *, policy: str = "skip") -> tuple[str, ...]:
    return bad_samples(plugins(), data, INPUTS, policy=policy)


@pytest.fixture(scope="module")
def expected(pictures: Path) -> list[str]:
    return hashes(f"imagefolder:{pictures}")


def hashes(data: str) -> list[str]:
    """Return hashes of the order of training and of whole batches, in training twice, in evaluation once."""
    indices = np.arange(18)[::-1]
    with closing(opened(data)) as one, closing(opened(data, train=False)) as other:
        return [order_sha256(one.size, 0, names=one.names), order_sha256(other.size, 0, names=other.names),
                *(batch_sha256(one.batch(indices, epoch=epoch)) for epoch in (0, 1)),
                batch_sha256(other.batch(indices[-6:], epoch=0))]


@pytest.mark.parametrize("name", FORMATS)
def test_samples_are_those_of_the_folder_to_the_bit(name: str, expected: list[str],
                                                    shards: Callable[[str], Path]) -> None:
    root = shards(name)
    assert len(list(root.glob(f"train-*{FORMATS[name].suffix}"))) > 2
    assert hashes(f"{name}:{root}") == expected
    kind, argument = plugins().dataset(f"{name}:{root}")
    assert kind.classes and kind.size and (kind.classes(argument), kind.size(argument)) == (3, 18)


@pytest.mark.parametrize("name", FORMATS)
def test_a_walk_finds_what_the_index_has(name: str, shards: Callable[[str], Path]) -> None:
    root = shards(name)
    indexed = [shards_of(str(root), name, train=train) for train in (True, False)]
    (root / "manifest.json").unlink()
    for one, train in zip(indexed, (True, False), strict=True):
        found = shards_of(str(root), name, train=train)
        assert (found.names, found.labels, found.one_split) == (one.names, one.labels, False)
        assert [found.place(row)[:3] for row in range(6)] == [one.place(row)[:3] for row in range(6)]


def test_arrays_are_the_evaluation_view_and_can_be_trained_with(pictures: Path, tmp_path: Path) -> None:
    prepare(f"imagefolder:{pictures}", "npz", tmp_path / "npz", image_size=24)
    indices = np.arange(18)
    with closing(opened(f"arrays:{tmp_path / 'npz' / 'train.npz'}")) as arrays, \
            closing(opened(f"imagefolder:{pictures}").unaugmented()) as folder:
        one, other = arrays.batch(indices, epoch=0), folder.batch(indices, epoch=0)
        assert batch_sha256(one) == batch_sha256(other)
    with np.load(tmp_path / "npz" / "train.npz") as file:
        assert [name.decode() for name in file["name"]] == list(folder.names)


def test_one_split_of_a_folder_is_one_split_of_shards(pictures: Path, shards: Callable[..., Path]) -> None:
    root = shards("tfrecord", pictures / "train")
    with closing(opened(f"tfrecord:{root}", train=False)) as data:
        assert (data.one_split, data.size) == (True, 18)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_wrong_crc_is_refused_by_file_and_byte_or_left_out_alone(indexed: bool,
                                                                   shards: Callable[[str], Path]) -> None:
    root = shards("tfrecord")
    victim = shards_of(str(root), "tfrecord", train=True)
    _, path, offset, _ = victim.place(5)
    name = victim.names[5] if indexed else f"{Path(path).name}@{offset}"
    data = bytearray(Path(path).read_bytes())
    data[offset + 100] ^= 4
    Path(path).write_bytes(data)
    if not indexed:
        (root / "manifest.json").unlink()
    with pytest.raises(UsageError, match=rf"1 sample cannot be read: .*byte {offset}: the CRC of its data"):
        found(f"tfrecord:{root}", policy="fail")
    assert found(f"tfrecord:{root}") == (name,)
    with closing(opened(f"tfrecord:{root}", skip=(name,))) as rest:
        assert rest.size == 17 and rest.batch(np.arange(17), epoch=0)["image"].shape[0] == 17
    with closing(opened(f"tfrecord:{root}")) as whole, pytest.raises(JobError, match=f"at byte {offset} of {path}"):
        whole.batch(np.array([5]), epoch=0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_that_is_cut_or_gone_costs_what_was_in_it(name: str, shards: Callable[[str], Path]) -> None:
    root = shards(name)
    there = shards_of(str(root), name, train=True)
    _, path, offset, _ = there.place(4)
    alike = [there.names[row] for row in range(len(there.where)) if there.place(row)[1] == path]
    lost = [one for one in alike if alike.index(one) >= alike.index(there.names[4])]
    os.truncate(path, offset + 30)
    shards_of.__globals__["indexed"].cache_clear()  # a program lives shorter than a test
    assert set(found(f"{name}:{root}")) == set(lost)
    with pytest.raises(UsageError, match=rf"{len(lost)} samples? cannot be read: .*{path} is cut: "):
        found(f"{name}:{root}", policy="fail")
    Path(path).unlink()
    shards_of.__globals__["indexed"].cache_clear()
    assert set(found(f"{name}:{root}")) == set(alike)


def test_a_cut_shard_without_an_index_is_read_up_to_there(shards: Callable[[str], Path]) -> None:
    root = shards("tfrecord")
    last = sorted(root.glob("train-*.tfrecord"))[-1]
    there = shards_of(str(root), "tfrecord", train=True)
    inside = [place for row in range(18) if (place := there.place(row))[1] == str(last)]
    (root / "manifest.json").unlink()
    os.truncate(last, inside[-1][2] + 50)
    [bad] = found(f"tfrecord:{root}")
    assert bad == f"{last.name}@{inside[-1][2]}"
    with closing(opened(f"tfrecord:{root}", skip=(bad,))) as rest:
        assert rest.size == 17


def test_damaged_pictures_stay_damaged_and_are_left_out_under_the_same_names(pictures: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    for path in pictures.glob("*/*/*.*"):
        target = spoilt / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes()[:300] if path.name == "2.jpg" else path.read_bytes())
    expected = found(f"imagefolder:{spoilt}")
    assert len(expected) == 3
    for name in FORMATS:
        prepare(f"imagefolder:{spoilt}", name, tmp_path / name)
        assert found(f"{name}:{tmp_path / name}") == expected
    with pytest.raises(UsageError, match=r"cannot decode .*2\.jpg"):
        prepare(f"imagefolder:{spoilt}", "npz", tmp_path / "npz")
    assert not [path for path in tmp_path.iterdir() if "npz" in path.name]


@pytest.mark.parametrize("spoil, words", [
    (lambda root: (root / "manifest.json").write_text("{"), "cannot be read"),
    (lambda root: (root / "manifest.json").write_text('{"schema": 9}'), "no manifest of this dlcompare"),
    (lambda root: (root / "index-train.json").unlink(), "index-train.json cannot be read"),
    (lambda root: (root / "index-train.json").write_text("[[0]]"), "no manifest of this dlcompare"),
    (lambda root: rows(root, lambda row: [*row[:3], (row[3] + 1) % 3, row[4]]), "another hash"),
])
def test_an_index_or_a_manifest_that_was_damaged_is_refused(spoil: Callable[[Path], object], words: str,
                                                            shards: Callable[[str], Path]) -> None:
    root = shards("recordio")
    spoil(root)
    with pytest.raises(UsageError, match=words):
        opened(f"recordio:{root}")


def rows(root: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    path = root / "index-train.json"
    path.write_text(json.dumps([change(row) for row in json.loads(path.read_text())]))


@pytest.mark.parametrize("data, words", [
    ("tfrecord:", "needs a folder"), ("tfrecord:/nowhere", "there is no folder /nowhere"),
    ("tfrecord:{folder}", r"holds no \*.tfrecord"), ("tfrecord:{rec}", "was prepared as recordio")])
def test_what_is_no_folder_of_shards_is_told(data: str, words: str, shards: Callable[[str], Path],
                                             tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    kind, argument = plugins().dataset(data.format(folder=tmp_path / "folder", rec=shards("recordio")))
    with pytest.raises(UsageError, match=words):
        kind.check(argument, INPUTS)


def test_shards_named_as_imagenets_are_found_without_a_suffix(pictures: Path, shards: Callable[[str], Path],
                                                              tmp_path: Path) -> None:
    prepared, bare = shards("tfrecord"), tmp_path / "bare"
    bare.mkdir()
    for split, named in (("train", "train"), ("val", "validation")):
        files = sorted(prepared.glob(f"{split}-*.tfrecord"))
        for number, file in enumerate(files):
            file.rename(bare / f"{named}-{number:05}-of-{len(files):05}")
    (bare / "train-00000-of-00001.txt").write_text("no shard")
    (bare / "LABELS").write_text("nor this")
    found = [shards_of(str(bare), "tfrecord", train=train) for train in (True, False)]
    assert [(len(one.names), one.one_split) for one in found] == [(18, False), (6, False)]
    with pytest.raises(UsageError, match=r"holds no \*\.tar; make them"):
        shards_of(str(bare), "webdataset", train=True)


def test_records_of_one_name_stay_apart(pictures: Path, tmp_path: Path) -> None:
    image = next(pictures.glob("train/*/*.jpg")).read_bytes()
    from dlcompare.core.data.records import tfrecord
    from dlcompare.core.data.records.sample import Sample

    for number in range(2):
        with (tmp_path / f"{number}.tfrecord").open("wb") as file:
            tfrecord.put(file, Sample("same.jpg", number, 0, image))
    assert shards_of(str(tmp_path), "tfrecord", train=True).names == ["same.jpg in 0.tfrecord@0",
                                                                      "same.jpg in 1.tfrecord@0"]


@pytest.mark.parametrize("source, to, out, words", [
    ("digits", "tfrecord", "new", "--from takes imagefolder:DIR"), ("imagefolder:/nowhere", "npz", "new", "no folder"),
    ("imagefolder:{root}", "lmdb", "new", "--to takes tfrecord"), ("imagefolder:{root}", "npz", ".", "there already"),
    ("imagefolder:{root}", "npz", "{root}/train/x", "would be taken for images")])
def test_what_cannot_be_prepared_is_told_and_leaves_nothing(source: str, to: str, out: str, words: str, pictures: Path,
                                                            tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(source.format(root=pictures), to, tmp_path / out.format(root=pictures))
    assert not list(tmp_path.iterdir()) and not (pictures / "train" / "x").exists()


def test_a_full_disk_leaves_nothing(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    monkeypatch.setattr(making.Shard, "end", lambda *_: Path("/dev/full").write_bytes(b"x"))
    with pytest.raises(JobError, match="No space left on device; make room for it"):
        prepare(f"imagefolder:{pictures}", "tfrecord", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupted_preparation_leaves_nothing_half_done(pictures: Path, tmp_path: Path) -> None:
    """The command itself, stopped as by Ctrl-C while it writes; pictures are many enough that it does."""
    many = tmp_path / "many" / "ant"
    many.mkdir(parents=True)
    image = next(pictures.glob("train/*/*.png")).read_bytes()
    for number in range(1500):
        (many / f"{number}.png").write_bytes(image)
    argv = [sys.executable, "-m", "dlcompare.core", "data", "prepare", "--from", f"imagefolder:{many.parent}", "--to",
            "tfrecord", "--out", str(tmp_path / "out")]
    started = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".out*/*")) and time.monotonic() < deadline and started.poll() is None:
        time.sleep(0.002)
    started.send_signal(signal.SIGINT)
    _, told = started.communicate(timeout=30)
    assert started.returncode == 130, told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many"]


def test_an_image_that_came_as_bytes_is_named_by_where_its_record_lies(shards: Callable[[str], Path]) -> None:
    source = source_of(f"webdataset:{shards('webdataset')}", INPUTS, batch=1, loaders=1)
    _, path, offset, _ = source.found.place(1)
    with pytest.raises(JobError, match=f"cannot read the image at byte {offset} of {re.escape(path)}"):
        source.decoded(b"no image", 1, epoch=0)
