"""Which cells a request of input pipelines comes to, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcompare.core.data.records.prepare import prepare
from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.io.request import IoJob
from dlcompare.core.kinds.kind import Request, kind
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root, chance = tmp_path_factory.mktemp("forms"), np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / "images" / name).mkdir(parents=True)
        for number in range(4):
            pixels = chance.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"{number}.jpg")
    source = f"imagefolder:{root / 'images'}"
    for form in ("tfrecord", "recordio", "webdataset"):
        prepare(source, form, root / form)
    return {"imagefolder": source, **{form: f"{form}:{root / form}" for form in ("tfrecord", "recordio", "webdataset")}}


def planned(**settings: object) -> Plan:
    return kind("io").plan(Request(settings))


def cells(forms: dict[str, str], *names: str, **more: object) -> list[tuple[str, str, str, int, str | None]]:
    found = planned(data=tuple(forms[name] for name in names), batch=4, image_size=32, **more)
    jobs = [job for job in found.jobs if isinstance(job, IoJob)]
    return [(job.source.partition(":")[0], job.runtime, job.pipeline, job.loaders[0], job.model) for job in jobs]


def test_every_form_is_read_with_every_number_of_loaders(forms: dict[str, str]) -> None:
    assert cells(forms, "imagefolder", "tfrecord", loaders=(1, 4)) == [
        (form, "neutral", "neutral", count, None) for form in ("imagefolder", "tfrecord") for count in (1, 4)]


def test_a_framework_reads_the_forms_of_its_own(forms: dict[str, str]) -> None:
    found = cells(forms, *forms, loaders=(2,), framework="tf-horovod,pytorch-ddp,mxnet,jax")
    own = [(form, by) for form, by, pipeline, *_ in found if pipeline == "native"]
    assert own == [("imagefolder", "pytorch-ddp"), ("imagefolder", "jax"), ("tfrecord", "tf-horovod"),
                   ("recordio", "mxnet"), ("webdataset", "pytorch-ddp")]
    assert all(name in plugins().backend(by).pipelines for name, by in own)


def test_a_model_is_trained_on_both_pipelines(forms: dict[str, str]) -> None:
    found = cells(forms, "tfrecord", loaders=(1,), framework="tf-horovod,jax", model="resnet18")
    assert [cell[1:] for cell in found[2:]] == [
        ("tf-horovod", "neutral", 1, "resnet18"), ("tf-horovod", "native", 1, "resnet18"),
        ("jax", "neutral", 1, "resnet18")]


def test_progress_names_form_pipeline_and_loaders(forms: dict[str, str]) -> None:
    jobs = planned(data=(forms["tfrecord"],), batch=4, loaders=(1,), framework="tf-horovod", model="resnet18",
                   image_size=32).jobs
    assert [job.called("side") for job in jobs] == [
        "tfrecord by the neutral pipeline, 1 loader", "tfrecord by tf-horovod's tf.data, 1 loader",
        "tf-horovod resnet18 on tfrecord by the neutral pipeline, 1 loader",
        "tf-horovod resnet18 on tfrecord by tf-horovod's tf.data, 1 loader"]


def test_a_job_repeats_itself_and_survives_json(forms: dict[str, str]) -> None:
    job = planned(data=(forms["tfrecord"],), batch=4, loaders=(2,), framework="tf-horovod").jobs[1]
    assert IoJob.from_json(job.to_json()) == job
    line = job.reproduce(("pipeline",))
    assert f"--data {forms['tfrecord']}" in line and "--loaders 2" in line and "--framework tf-horovod" in line


@pytest.mark.parametrize("asked, words", [
    ({"data": ()}, "--data must be given"), ({"data": ("digits",)}, "reads images from storage"),
    ({"data": ("tfrecord",), "loaders": (0,)}, "--loaders takes numbers from 1"),
    ({"data": ("tfrecord",), "model": "resnet18"}, "is trained under frameworks"),
    ({"data": ("tfrecord",), "batch": 9}, "lower --batch"),
    ({"data": ("tfrecord",), "framework": "torch"}, "framework"),
])
def test_what_does_not_fit_is_told(asked: dict[str, Any], words: str, forms: dict[str, str]) -> None:
    given = {**asked, "data": tuple(forms.get(name, name) for name in asked["data"])}
    with pytest.raises(UsageError, match=words):
        planned(**given)


@pytest.mark.parametrize("framework, data, more, words", [
    ("reference", "imagefolder", {}, "reference has no pipeline of its own, not for imagefolder"),
    ("tf-horovod", "recordio", {}, "tf-horovod has its own pipeline for --data tfrecord: .tf.data., not for recordio"),
    ("mxnet", "recordio", {"workers": 2}, "divides shards by bytes"),
    ("pytorch-ddp", "webdataset", {"workers": 2}, "whole shards go to each process"),
    ("tf-horovod", "tfrecord", {"skip": ("x",)}, "cannot leave single samples out, and 1 cannot be read"),
])
def test_what_a_pipeline_cannot_do_is_refused(framework: str, data: str, more: dict[str, object], words: str,
                                              forms: dict[str, str]) -> None:
    job = Job(framework, "resnet18", data=forms[data], pipeline="native", **more)  # type: ignore[arg-type]
    assert words.replace(".tf.data.", "(tf.data)") in (plugins().backend(framework).refuse(job) or "")
