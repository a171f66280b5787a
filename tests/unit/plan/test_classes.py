"""The last layer's number of classes where nobody says: that of the weights, else of the data, else the model's own."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import planned
from PIL import Image

from dlcompare.core.errors import UsageError
from dlcompare.core.graph.params import initial_params, write_params
from dlcompare.core.plan.classes import usual_classes
from dlcompare.core.plugins.registry import plugins


def folder(root: Path, *, classes: int) -> str:
    for number in range(classes):
        (root / f"class{number}").mkdir(parents=True)
        for name in "ab":
            Image.new("RGB", (40, 40)).save(root / f"class{number}" / f"{name}.png")
    return f"imagefolder:{root}"


def arrays(path: Path, labels: list[Any], **more: np.ndarray) -> str:
    np.savez(path, image=np.zeros((len(labels), 3, 32, 32), np.float32), label=np.array(labels), **more)
    return f"arrays:{path}"


def weights(path: Path, *, classes: int, without: tuple[str, ...] = ()) -> str:
    params = initial_params(plugins().model("resnet18").graph(32, classes=classes), 0)
    write_params(path, {name: array for name, array in params.items() if name not in without})
    return str(path)


def classes(*frameworks: str, **settings: Any) -> int | None:
    (found,) = {job.classes for job in planned(*(frameworks or ("reference",)), **settings).jobs}
    return found


@pytest.mark.parametrize(("data", "found"), [("digits", 10), ("shapes", 20), ("shapes:classes=3", 3),
                                             ("synthetic", None)])
def test_it_is_that_of_the_data(data: str, found: int | None) -> None:
    assert classes(data=data) == found


def test_it_is_that_of_the_users_own_data(tmp_path: Path) -> None:
    assert classes(data=folder(tmp_path / "images", classes=4), batch=2) == 4
    assert classes(data=folder(tmp_path / "one", classes=1), batch=2) is None, "no network tells one class apart"
    assert classes(data=arrays(tmp_path / "a.npz", [0, 2, 6, 2] * 3)) == 7


def test_labels_that_the_network_has_no_class_for_are_refused(tmp_path: Path) -> None:
    data = arrays(tmp_path / "a.npz", [0, 2, 6, 2] * 3)
    with pytest.raises(UsageError, match=r"labels of 7 classes.* tells only 5 apart; give --classes 7"):
        planned("reference", data=data, classes=5)
    assert classes(data=data, classes=9) == 9
    with pytest.raises(UsageError, match=r"-1.*counted from 0"):
        planned("reference", data=arrays(tmp_path / "b.npz", [-1, 2, 6, 2] * 3))


@pytest.mark.parametrize("of", ["training", "time_to_accuracy"])
def test_data_too_few_for_one_step_are_refused_before_anything_starts(tmp_path: Path, of: str) -> None:
    more = {"target": "top1=0.9", "max_epochs": 1} if of == "time_to_accuracy" else {}
    images = folder(tmp_path / "images", classes=5)
    (tmp_path / "images" / "class0" / "a.png").write_bytes(b"")
    asked = {"of": of, "data": images, "on_bad_sample": "skip", **more}
    with pytest.raises(UsageError, match=r"has 9 samples, but one step of 2 x 5 .*needs 10; lower --batch"):
        planned("pytorch-ddp", workers=2, batch=5, **asked)
    with pytest.raises(UsageError, match="has 9 samples"):
        planned("reference", "reference:batch=10", **{**asked, "batch": 1, "image_size": 64})
    assert planned("pytorch-ddp", workers=2, batch=4, **asked).jobs
    for data, batch in (("digits", 1438), ("shapes:train=7", 8), (arrays(tmp_path / "a.npz", [0, 1]), 3)):
        with pytest.raises(UsageError, match=f"has {batch - 1} samples"):
            planned("reference", of=of, data=data, batch=batch, **more)
    assert planned("reference", data="digits", batch=1437).jobs


def test_what_is_only_compiled_reads_no_data_and_is_the_published_network() -> None:
    asked = {"of": "compilation", "device": "tpu", "topology": "v3:2x2", "batch": 4096}
    assert planned("jax", **asked).jobs[0].classes is None
    assert planned("jax", data="digits", **asked).jobs[0].classes == 10


def test_it_is_what_was_asked_for() -> None:
    assert classes(classes=12) == 12


def test_it_is_one_for_all_sides() -> None:
    assert classes("reference", "pytorch-ddp:data=shapes", "jax:data=synthetic") == 20


def test_every_kind_that_trains_has_it() -> None:
    assert classes(of="time_to_accuracy", target="top1=0.9", max_epochs=1) == 10
    assert classes(of="verification") is None, "its samples are invented"


def test_a_network_that_can_have_no_other_keeps_its_own() -> None:
    fixed = dataclasses.replace(plugins().model("resnet18"), build=lambda image, label: {})
    assert usual_classes(plugins(), fixed, ["digits"], weights=None, image_size=None) is None
    assert classes(model="bert-squad", image_size=None) is None


def test_a_file_of_weights_has_the_say(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors", classes=12)
    assert classes(weights=path) == classes(weights=path, data="synthetic") == 12
    with pytest.raises(UsageError, match="has 20 classes, but this model tells only 12 apart"):
        planned("reference", weights=path, data="shapes")
    bare = weights(tmp_path / "bare.safetensors", classes=12, without=("fc.weight", "fc.bias"))
    assert classes(weights=bare) == 10, "its head is drawn, as many classes as the data have"


def test_the_job_says_so_and_the_run_is_the_same(tmp_path: Path) -> None:
    asked = planned("reference")
    assert "--classes 10" in asked.jobs[0].reproduce()
    assert asked.digest == planned("reference", classes=10).digest != planned("reference", classes=11).digest
