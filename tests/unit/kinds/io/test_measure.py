"""Cells that read images in processes of their own, what they leave, and what of it is doubted."""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from running import Command

from dlcompare.core.data.order import order_sha256
from dlcompare.core.data.records.index import manifest_of, shards_of
from dlcompare.core.data.records.prepare import prepare
from dlcompare.core.data.stream import Drawn
from dlcompare.core.kinds.io.folding import fold
from dlcompare.core.kinds.io.report import as_table
from dlcompare.core.kinds.io.request import IoJob
from dlcompare.core.kinds.io.result import Ids, IoRecord, Pass, Pixels, RankResult
from dlcompare.core.kinds.io.worker import one_pass
from dlcompare.core.kinds.kind import Started, kind
from dlcompare.core.meters.host.page_cache import drop, residency
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Window

JOB = IoJob(data=("tfrecord:/x",), framework="tf-horovod", pipeline="native", loaders=(2,), batch=8)
WHOLE = Ids(64, 64, 0, 0, "0" * 64)


def rank(**changes: Any) -> RankResult:
    windows = tuple(Window(steps=8, samples=64, seconds=(0.5,), started=0.0) for _ in range(3))
    usual = RankResult(first=Pass(64, 1.0, 0.9, 6_000_000, 0.0), second=Pass(64, 0.5, 0.6, 0, 1.0), windows=windows,
                       bytes=6_000_000, files=2, hypervisor=False, ids=WHOLE, pixels=Pixels(64, 3.0, 31.0),
                       settings=Choices.of({"input_order": "shuffled", "input_decoding": "libjpeg"}), versions={},
                       rss_bytes=1)
    return dataclasses.replace(usual, **changes)


def record(*, job: IoJob = JOB, **changes: Any) -> IoRecord:
    about = Started(run="20261130-000000-0000", folder=Path(), tell=lambda *_: None, started=0.0)
    found: IoRecord = fold(kind("io"), job, [rank(**changes)], about)
    return found


def test_a_cell_is_told_in_a_line_with_what_is_its_own() -> None:
    text = as_table([record()])
    assert "tfrecord  tf-horovod        2    64.00  6.0   0.90" in text and "The first pass is cold" in text
    assert "Order: shuffled. Decoding: libjpeg. Pixels of the evaluation view: 3.00 of 255" in " ".join(text.split())
    assert "(sha256 000000000000)" in text


def test_what_came_and_in_which_order_is_in_the_ledger() -> None:
    own = record(ids=dataclasses.replace(WHOLE, seen=60, order_sha256="a" * 64, neutral=False))
    neutral = record(job=dataclasses.replace(JOB, framework="", pipeline="neutral"),
                     ids=dataclasses.replace(WHOLE, order_sha256="b" * 64, neutral=True))
    text = " ".join(as_table([own, neutral]).split())
    assert "Order: shuffled; 60 of 64 samples came, each once, NOT in the neutral order (sha256 aaaaaaaaaaaa)" in text
    assert "the same: order of the samples, the neutral one, as it came in rows 2" in text


def test_a_neutral_pipeline_in_another_order_is_none() -> None:
    made = record(job=dataclasses.replace(JOB, framework="", pipeline="neutral"),
                  ids=dataclasses.replace(WHOLE, order_sha256="b" * 64, neutral=False))
    assert made.status == "failed" and "another order than the seed's" in str(made.reason)


def test_a_pass_keeps_no_array_of_the_pipelines_own() -> None:
    """Arrays in memory that processes share keep a file open each: an epoch of ImageNet has more than there may be."""
    shared = np.zeros(1, np.int64)

    class Reusing:
        source = SimpleNamespace(label="label", batch=1)

        def epoch(self, number: int) -> Iterator[Drawn]:
            for shared[0] in range(3):
                yield Drawn(shared, {"label": shared})

    given: Any = []
    one_pass(Reusing(), 0, [], lambda *_, **__: None, given)  # type: ignore[arg-type]  # what a pass needs of one
    assert [(rows.tolist(), labels.tolist()) for rows, labels in given] == [([row], [row]) for row in range(3)]


def test_a_record_survives_json() -> None:
    made = record()
    assert IoRecord.from_json(made.to_json()) == made and made.throughput and made.throughput.value == 128


@pytest.mark.parametrize("ids, words", [(Ids(64, 60, 4, 0, "1" * 64), "4 samples twice"),
                                        (Ids(64, 64, 0, 3, "1" * 64), "3 with another label")])
def test_samples_that_are_not_those_of_the_data_fail_the_cell(ids: Ids, words: str) -> None:
    made = record(ids=ids)
    assert made.status == "failed" and words in str(made.reason) and made.throughput is None


@pytest.mark.parametrize("share, virtual, word, doubts", [
    (0.0, False, "cold", []), (0.0, True, "lukewarm", []), (0.3, False, "in part warm", ["not evicted"]),
    (1.0, False, "warm", ["not evicted"]), (None, False, "unknown", ["residency unknown"])])
def test_cold_is_what_was_seen_to_be(share: float | None, virtual: bool, word: str, doubts: list[str]) -> None:
    made = record(first=Pass(64, 1.0, None, None, share), hypervisor=virtual)
    assert made.temperature == word and [one.kind for one in made.warnings] == doubts
    assert word in " ".join(as_table([made]).split())


def test_data_that_do_not_fit_into_memory_are_not_warm() -> None:
    assert "not warm" in [one.kind for one in record(second=Pass(64, 1.0, None, None, 0.5)).warnings]


def test_what_training_waits_is_a_share_of_its_windows() -> None:
    windows = tuple(Window(steps=4, samples=32, seconds=(2.0,), started=0.0, feed_seconds=0.5) for _ in range(3))
    made = record(job=dataclasses.replace(JOB, model="resnet18"), first=None, second=None, windows=windows, ids=None)
    assert made.stall == 0.25 and "25.0 %" in as_table([made]) and "stall" in [one.kind for one in made.warnings]


def test_pages_that_are_mapped_stay_and_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(os.urandom(1 << 20))
    mounts = {one.mountpoint: one.fstype for one in psutil.disk_partitions(all=True)}
    kind_of = mounts[max((place for place in mounts if file.is_relative_to(place)), key=len)]
    if kind_of in ("tmpfs", "ramfs"):
        pytest.skip(f"needs a disk's file system below {tmp_path}; {kind_of} has nowhere to drop pages to")
    drop([file])
    assert residency([file]).share == 0.0
    with file.open("rb") as held, mmap.mmap(held.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[at] for at in range(0, 1 << 20, 4096)) > 0
        drop([file])
        assert (residency([file]).share or 0.0) > 0.9
    drop([file])
    assert residency([file]).share == 0.0


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, chance = tmp_path_factory.mktemp("io"), np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / "images" / name).mkdir(parents=True)
        for number in range(8):
            # Large enough that reading takes more than a tick of the clock.
            pixels = chance.integers(0, 256, (400, 500, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"{number}.jpg")
    prepare(f"imagefolder:{root / 'images'}", "tfrecord", root / "tfrecord")
    return root / "tfrecord"


def test_a_form_is_read_in_a_process_of_its_own(start: Callable[..., Command], shards: Path) -> None:
    command = start("io", "--data", f"tfrecord:{shards}", "--loaders", "2", "--batch", "4", "--image-size", "16",
                    "--windows", "2")
    assert command.wait() == 0, command.told
    [made] = json.loads(command.printed)
    manifest = manifest_of(shards)
    names = shards_of(str(shards), "tfrecord", train=True).names
    assert manifest and made["ids"] == {"samples": 16, "seen": 16, "twice": 0, "mislabelled": 0,
                                        "sha256": manifest.splits["train"]["ids_sha256"],
                                        "order_sha256": order_sha256(16, 0, names=names), "neutral": True}
    assert "dlcompare: tfrecord by the neutral pipeline, 2 loaders: pass" in command.told
    assert len(made["windows"]) == 2 and all(one["samples"] == 16 for one in made["windows"])
    assert made["first"]["cpu"] > 0 and made["bytes"] == sum(f.stat().st_size for f in shards.glob("train*.tfrecord"))
    assert command.nothing_left()


def test_a_damaged_record_is_refused_or_left_out(start: Callable[..., Command], shards: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    for file in shards.iterdir():
        (spoilt / file.name).write_bytes(file.read_bytes())
    victim = next(spoilt.glob("train*.tfrecord"))
    data = bytearray(victim.read_bytes())
    data[60] ^= 1
    victim.write_bytes(data)
    line = ("io", "--data", f"tfrecord:{spoilt}", "--loaders", "1", "--batch", "3", "--image-size", "16",
            "--windows", "1")
    refused = start(*line)
    assert refused.wait() == 2 and f"{victim}, record at byte 0: the CRC of its data" in refused.told
    left_out = start(*line, "--on-bad-sample", "skip")
    assert left_out.wait() == 0, left_out.told
    [made] = json.loads(left_out.printed)
    assert (made["ids"]["samples"], made["ids"]["seen"]) == (15, 15) and made["job"]["skip"] == ["ant/0.jpg"]
