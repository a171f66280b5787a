"""No sample is measured that has calibrated, whatever the folder, and calibration sees what evaluation sees."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcompare.core.data.images.dataset import normalise
from dlcompare.core.data.images.decode import read
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.inference.kind.worker import dataset
from dlcompare.inference.precision.samples import Samples, apart, choose

INPUTS = {"image": Input((3, 24, 24)), "label": Input((), "int64", "label", 10)}
NOISE = np.random.default_rng(0).integers(0, 256, (60, 40, 50, 3), dtype=np.uint8)


def fill(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(NOISE[number]).save(folder / f"{number:02}.png")
    return folder


def chosen(root: Path, protocol: str, **more: object) -> Samples:
    return choose(f"imagefolder:{root}", INPUTS, **{  # type: ignore[arg-type]
        "protocol": protocol, "calibration": None, "measured": None, "seed": 0, **more})


@pytest.mark.parametrize("protocol", ["split", "xu2018"])
def test_where_one_folder_serves_both_its_samples_are_divided(tmp_path: Path, protocol: str) -> None:
    fill(tmp_path / "cat", 60)
    found = chosen(tmp_path, protocol)
    assert (len(found.calibration), len(found.measured)) == (30, 30)
    assert set(found.calibration) | set(found.measured) == set(range(60))
    assert not found.calibration_train


def test_of_two_splits_one_calibrates_and_the_other_is_measured(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat", 20)
    fill(tmp_path / "val" / "cat", 12)
    found = chosen(tmp_path, "split")
    assert (len(found.calibration), found.calibration_train, found.measured) == (10, True, tuple(range(12)))


def test_what_is_skipped_is_not_counted(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 20)
    found = chosen(tmp_path, "split", skip=("cat/00.png", "cat/07.png"))
    assert sorted((*found.calibration, *found.measured)) == list(range(18))


def test_a_calibration_made_before_takes_its_samples_out_of_what_is_measured() -> None:
    samples = Samples((0, 1), False, (2, 3, 4))
    made = {"data": "digits", "train": False, "samples": [3, 4]}
    assert apart(samples, made, data="digits").measured == (2,)
    assert apart(samples, {**made, "train": True}, data="digits") == samples
    assert apart(samples, made, data="shapes") == samples
    with pytest.raises(UsageError, match="has seen all 3 samples of digits to measure"):
        apart(samples, {**made, "samples": [2, 3, 4]}, data="digits")


def test_calibration_reads_images_as_evaluation_does(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat", 3)
    fill(tmp_path / "val" / "cat", 1)
    job = InferenceJob(engine="e", model="m", data=f"imagefolder:{tmp_path}", inputs=INPUTS, train=True,
                       skip=("train/cat/00.png",))
    with dataset(job) as data:
        [image] = data.batch(np.array([1]), epoch=0)["image"]
        assert data.size == 2
    pixels = read(str(tmp_path / "train" / "cat" / "02.png"), size=(24, 24), draws=None)
    assert np.array_equal(image, normalise(pixels[None])[0])
