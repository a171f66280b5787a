"""Shards of ours under the frameworks' own readers, theirs under ours: TensorFlow's TFRecord, MXNet's RecordIO."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records_probe import AWKWARD, digest

from dlcompare.core.data.records.formats import FORMATS, encoded
from dlcompare.core.data.records.index import shards_of
from dlcompare.core.data.records.prepare import prepare

PROBE = Path(__file__).with_name("records_probe.py")
BOTH = [("tf-horovod", "tfrecord"), ("mxnet", "recordio")]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files called images, some of which hold RecordIO's magic where it hurts."""
    root, chance = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(40):
        folder = root / f"class{number % 3}"
        folder.mkdir(exist_ok=True)
        odd = AWKWARD[number % len(AWKWARD)] if number < 10 else chance.bytes(int(chance.integers(1, 5000)))
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8" + bytes(number % 4) + odd)
    return root


@pytest.fixture(scope="module")
def read(images: Path, environment: Callable[[str], Path],
         tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, list[list[Any]]]]:
    def by(framework: str, name: str) -> tuple[Path, list[list[Any]]]:
        folder = tmp_path_factory.mktemp(name)
        prepare(f"imagefolder:{images}", name, folder / "ours", shard_bytes=20_000)
        done = subprocess.run([str(environment(framework)), str(PROBE), framework, str(folder), str(folder / "ours")],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return folder, json.loads(done.stdout.splitlines()[-1])

    return by


@pytest.mark.parametrize("framework, name", BOTH)
def test_each_reads_what_the_other_wrote(framework: str, name: str, images: Path,
                                         read: Callable[[str, str], tuple[Path, list[list[Any]]]]) -> None:
    folder, found = read(framework, name)
    there = shards_of(str(folder / "ours"), name, train=True)
    names = there.names if name == "tfrecord" else range(40)
    hashes = [hashlib.sha256((images / one).read_bytes()).hexdigest() for one in there.names]
    assert found == [list(row) for row in zip(names, there.labels, hashes, strict=True)]
    theirs = folder / f"theirs{FORMATS[name].suffix}"
    walked = list(FORMATS[name].walk(theirs))
    assert [(one.label, one.damage) for one in walked] == [(number, None) for number in range(len(AWKWARD))]
    assert [digest(encoded([name, str(theirs), one.offset, None])) for one in walked] == [*map(digest, AWKWARD)]
