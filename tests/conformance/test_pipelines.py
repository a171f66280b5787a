"""The frameworks' own input pipelines: the samples of the data, each once an epoch, with their labels and pixels."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import Command

from dlcompare.core.data.records.prepare import prepare
from dlcompare.core.environments.sources import link_sources
from dlcompare.core.plugins.registry import plugins

PROBE = Path(__file__).with_name("pipeline_probe.py")
COUNT = 40  # images, 10 batches of 4
OWN = [("tf-horovod", "tfrecord"), ("pytorch-ddp", "imagefolder"), ("pytorch-ddp", "webdataset"), ("mxnet", "recordio")]
EXACT = ("pytorch-ddp",)  # which decode with Pillow
APART = 8.0  # of 255 on average: resampling of detailed images, centred alike (64 - 56 is even); other channels are 40


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, chance = tmp_path_factory.mktemp("forms"), np.random.default_rng(0)
    for number in range(COUNT):
        folder = root / "imagefolder" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(chance.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((100 + number, 90), Image.Resampling.BICUBIC).save(folder / f"{number:02}.jpg", quality=95)
    for form in ("tfrecord", "recordio", "webdataset"):
        prepare(f"imagefolder:{root / 'imagefolder'}", form, root / form, shard_bytes=40_000)
    return {form: root / form for form in ("imagefolder", "tfrecord", "recordio", "webdataset")}


@pytest.fixture(scope="module")
def probe(environment: Callable[[str], Path],
          tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    view = link_sources(tmp_path_factory.mktemp("view"))

    def of(framework: str, data: str, *share: str) -> dict[str, Any]:
        argv = [str(environment(framework)), str(PROBE), framework, data, *share]
        done = subprocess.run(argv, capture_output=True, text=True,
                              timeout=120, env={**os.environ, "PYTHONPATH": str(view), "CUDA_VISIBLE_DEVICES": ""})
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return of


@pytest.mark.parametrize("framework, form", OWN)
def test_samples_come_once_with_their_labels_and_pixels(framework: str, form: str, forms: dict[str, Path],
                                                        probe: Callable[..., dict[str, Any]]) -> None:
    found = probe(framework, f"{form}:{forms[form]}")
    labels = labels_of_all()
    for rows, given in zip(found["rows"], found["labels"], strict=True):
        assert len(set(rows)) == len(rows) and [labels[row] for row in rows] == given
        whole = form != "webdataset"  # where each process drops what is left over
        assert len(rows) == COUNT if whole else COUNT - 8 < len(rows) <= COUNT
    assert found["first"] == ["float32", [4, 3, 56, 56], "int64"]
    first, second, again = found["rows"]
    assert first != second and first != sorted(first), "an epoch has an order of its own"
    assert first == again or framework == "mxnet", "and the seed decides it"
    assert found["most"] < 0.01 if framework in EXACT else found["apart"] < APART


def labels_of_all() -> list[int]:
    return [label for label, count in ((0, 14), (1, 13), (2, 13)) for _ in range(count)]  # class by class


@pytest.mark.parametrize("framework, form", OWN)
def test_ranks_share_an_epoch_out_without_overlap_or_are_refused(framework: str, form: str, forms: dict[str, Path],
                                                                 probe: Callable[..., dict[str, Any]]) -> None:
    data = f"{form}:{forms[form]}"
    refused = plugins().backend(framework).refuse_pipeline(data, workers=2)
    assert (refused is not None) == (form in ("webdataset", "recordio")), refused
    if refused:
        return
    labels, shares = labels_of_all(), [probe(framework, data, rank, "2") for rank in "01"]
    for mine, theirs in zip(*(share["rows"] for share in shares), strict=True):
        assert len(mine) == len(theirs) == COUNT // 2 and sorted(mine + theirs) == [*range(COUNT)]
    assert all([labels[row] for row in rows] == given for share in shares
               for rows, given in zip(share["rows"], share["labels"], strict=True))


@pytest.mark.parametrize("framework, form, workers", [
    ("tf-horovod", "tfrecord", "2"), ("pytorch-ddp", "imagefolder", "2"), ("pytorch-ddp", "webdataset", "1"),
    ("mxnet", "recordio", "1")])
def test_a_training_says_what_its_own_pipeline_gave(framework: str, form: str, workers: str, forms: dict[str, Path],
                                                    start: Callable[..., Command]) -> None:
    """Three steps of warm-up and one that is measured give at least 16 samples to each rank, of an epoch of 40."""
    command = start("--framework", framework, "--model", "resnet18", "--image-size", "32", "--batch", "4", "--steps",
                    "1", "--windows", "1", "--verify", "off", "--pipeline", "native", "--workers", workers, "--data",
                    f"{form}:{forms[form]}")
    assert command.wait(300) == 0, command.told
    [made] = command.records().values()
    found, own = made["delivered"], made["settings"]["own"]
    assert (found["samples"], found["neutral"]) == (COUNT, False) and 16 * int(workers) <= found["seen"] <= COUNT
    assert own["input_delivered"] == "each sample once, with its own label; not the neutral order"


def test_all_that_is_offered_is_tested_here() -> None:
    offered = {(name, form) for name, backend in plugins().backends().items() for form in backend.pipelines}
    others = {("pytorch-dp", "imagefolder"), ("pytorch-dp", "webdataset"), ("mxnet-horovod", "recordio"),
              ("jax-local", "imagefolder")}  # the same as another's
    assert offered - others == {*OWN, ("jax", "imagefolder")}


def test_grain_reads_a_folder_or_its_absence_is_told(forms: dict[str, Path],
                                                     probe: Callable[..., dict[str, Any]]) -> None:
    found = probe("jax", f"imagefolder:{forms['imagefolder']}")
    if "error" in found:
        assert "grain is not in this environment" in found["error"] and "--env PYTHON" in found["error"]
        return
    assert [sorted(rows) for rows in found["rows"]] == [[*range(COUNT)]] * 3 and found["most"] < 0.01
    assert found["rows"][0] == found["rows"][2] != found["rows"][1]


@pytest.mark.parametrize("framework, form, words", [("tf-horovod", "tfrecord", "DataLossError"),
                                                    ("pytorch-ddp", "webdataset", "tar header is damaged")])
def test_a_damaged_record_ends_a_pipeline_with_a_word_on_what_to_do(
        framework: str, form: str, words: str, forms: dict[str, Path], tmp_path: Path,
        probe: Callable[..., dict[str, Any]]) -> None:
    for file in forms[form].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = sorted(tmp_path.glob("train-*[!n]"))[0]
    data = bytearray(victim.read_bytes())
    data[9] ^= 1
    victim.write_bytes(data)
    error = probe(framework, f"{form}:{tmp_path}")["error"]
    assert words in error and "--pipeline neutral" in error and "--on-bad-sample skip" in error
