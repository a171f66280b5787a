"""Frameworks with settings of their own: how they are asked for, and what a plan makes of them."""

import json
from pathlib import Path

import pytest
from asking import planned
from PIL import Image

from dlcompare.core.errors import UsageError
from dlcompare.core.plan.variants import parse


def test_a_side_is_a_framework_with_settings() -> None:
    side = parse("pytorch-ddp:execution=compiled:threads=3:data=imagefolder:/a b/c=d")
    assert (side.framework, dict(side.settings)) == (
        "pytorch-ddp", {"execution": "compiled", "threads": 3, "data": "imagefolder:/a b/c=d"})
    assert parse(side.name) == side
    assert (parse("jax").name, parse("jax").text) == ("jax", "")


@pytest.mark.parametrize(("text", "words"), [
    ("jax:exekution=eager", r"unknown setting of jax 'exekution'; there is: .*layout.*Did you mean 'execution'"),
    ("jax:lr=1", "unknown setting of jax 'lr'"),
    ("jax:threads=many", "threads takes a whole number, not 'many'"),
    ("jax:layout=", "layout must be given once, with a value"),
    ("jax:seed=1:seed=2", "seed must be given once"),
])
def test_a_setting_that_is_none_names_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text)


def test_a_variant_is_a_job_of_its_own_with_its_name() -> None:
    plan = planned("reference", "reference:seed=1:batch=2", batch=4)
    assert [(job.framework, job.seed, job.batch) for job in plan.jobs] == [("reference", 0, 4), ("reference", 1, 2)]
    assert [plan.name(job) for job in plan.jobs] == ["reference", "reference:seed=1:batch=2"]
    assert json.loads(plan.to_json())["variants"] == {plan.jobs[1].id: "seed=1:batch=2"}


def test_a_variant_overrules_the_options_of_all() -> None:
    plan = planned("reference:precision=bf16", "reference", precision="fp32")
    assert [job.precision for job in plan.jobs] == ["bf16", "fp32"]
    assert list(plan.refusals) == [plan.jobs[0].id]


@pytest.mark.parametrize(("asked", "words"), [
    (("reference", "reference:seed=0"), "reference and reference:seed=0 are the same job"),
    (("reference:layout=NWHC",), "unknown layout 'NWHC'"),
    (("reference:data=nowhere",), "unknown dataset 'nowhere'"),
    (("reference:threads=0",), "threads must be at least 1"),
    (("all:seed=1",), "unknown framework 'all'"),
])
def test_variants_that_cannot_be_are_usage_errors(asked: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned(*asked)


def test_a_path_in_a_variant_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        (tmp_path / "here" / split / "cat").mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "here" / split / "cat" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    (job,) = planned("reference:data=imagefolder:here", batch=1, image_size=64).jobs
    assert job.data == f"imagefolder:{tmp_path / 'here'}"
