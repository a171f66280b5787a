"""A job: what it accepts, its file, and its learning-rate schedule."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import kind
from dlcompare.core.plugins.job import Job, decay_of, learning_rate

JOB = Job(framework="reference", model="resnet18")


def test_json_there_and_back() -> None:
    job = dataclasses.replace(JOB, workers=2, image_size=32, save=True)
    assert Job.from_json(job.to_json()) == job
    assert json.loads(job.to_json())["kind"] == "training"


@pytest.mark.parametrize(("name", "more"), [
    ("training", {}), ("time_to_accuracy", {"target": "top1=0.5"}), ("compilation", {"topology": "v3:2x2"}),
    ("verification", {"cases": ("relu",)}),
])
def test_jobs_of_every_kind_survive_json_and_are_no_other_kinds(name: str, more: dict[str, Any]) -> None:
    cls = kind(name).job
    job = cls(framework="reference", model="resnet18", **more)
    assert cls.from_json(job.to_json()) == job
    other = kind("verification" if name == "training" else "training").job
    with pytest.raises(UsageError, match=f"this is a job of the kind {name}, not {other.kind}"):
        other.from_json(job.to_json())
    assert job.id != other(framework="reference", model="resnet18").id


def test_an_unknown_key_lists_the_known_ones() -> None:
    text = json.dumps({**json.loads(JOB.to_json()), "batchsize": 4})
    with pytest.raises(UsageError, match=r"'batchsize'.*batch.*Did you mean 'batch'"):
        Job.from_json(text)


@pytest.mark.parametrize(("field", "value", "words"), [
    ("precision", "fp31", "fp32"), ("device", "gpu", "cuda"), ("batch", 0, "at least 1"), ("steps", 0, "at least 1"),
    ("workers", -1, "at least 1"), ("lr", float("nan"), "finite"), ("lr", float("inf"), "finite"),
    ("lr", -0.1, "at least 0"), ("window_seconds", 0.0, "above 0"), ("port", 70000, "at most 65535"),
    ("momentum", float("nan"), "finite"), ("layout", "NWHC", "NHWC"), ("execution", "eagre", "eager"),
    ("schedule", "cosine", "cosine:STEPS"),
    ("schedule", "warmup:0", "warmup:STEPS"), ("schedule", "linear:3", "constant"),
    ("schedule", "step:5", "step:STEP"), ("schedule", "step:5,3:0.1", "step:STEP"), ("schedule", "noam", "noam:WARMUP"),
    ("schedule", "warmup-cosine:4,4", "warmup-cosine:WARMUP,STEPS"), ("schedule", "warmup:3*", "joined by"),
    ("schedule", "constant:3", "constant"), ("schedule", "warmup:1.5", "warmup:STEPS"),
])
def test_bad_values_say_what_is_allowed(field: str, value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(JOB, **{field: value})


def test_ids_differ_when_jobs_differ() -> None:
    assert JOB.id != dataclasses.replace(JOB, lr=0.2).id
    assert JOB.id == dataclasses.replace(JOB).id


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        job = dataclasses.replace(JOB, lr=0.8, schedule=schedule)
        return [learning_rate(job, step=i) for i in range(5)]

    assert rates("constant") == [0.8] * 5
    assert rates("warmup:4") == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates("cosine:4") == pytest.approx([0.4 * (1 + math.cos(math.pi * i / 4)) for i in range(5)])
    assert rates("warmup-exp:2") == pytest.approx([0.008, 0.08, 0.8, 0.8, 0.8])
    assert rates("warmup-cosine:2,4") == pytest.approx([0.4, 0.8, 0.8, 0.4, 0.0])
    assert rates("noam:2") == pytest.approx([0.4, 0.8, 0.8 * (2 / 3)**0.5, 0.8 * 0.5**0.5, 0.8 * 0.4**0.5])
    assert rates("step:1,3:0.5") == pytest.approx([0.8, 0.4, 0.4, 0.2, 0.2])
    assert rates("warmup:2*step:3:0.1") == pytest.approx([0.4, 0.8, 0.8, 0.08, 0.08])


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a\0b\n", "x" * 5000, "\u202emodel"])
def test_whatever_a_network_is_called_its_folder_is_one_name_in_the_run(name: str, tmp_path: Path) -> None:
    folder = tmp_path / dataclasses.replace(JOB, model=name).id
    folder.mkdir()
    assert [*tmp_path.iterdir()] == [folder] and dataclasses.replace(JOB, model=f"{name}.").id != folder.name


def test_weight_decay_reaches_all_or_what_has_two_axes() -> None:
    everything = Job("pytorch-ddp", "resnet18", weight_decay=0.1)
    matrices = Job("pytorch-ddp", "resnet18", weight_decay=0.1, decay="matrices")
    shapes = ((8,), (8, 3), (8, 3, 1, 1))
    assert [decay_of(everything, shape) for shape in shapes] == [0.1, 0.1, 0.1]
    assert [decay_of(matrices, shape) for shape in shapes] == [0.0, 0.1, 0.1]
