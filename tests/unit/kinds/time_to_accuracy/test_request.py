"""A target must be one that can be measured, and parse."""

import dataclasses

import pytest
from asking import planned

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.time_to_accuracy.request import TargetJob, top1


@pytest.mark.parametrize(("model", "options", "reason"), [
    ("bert-tiny", {"image_size": None}, "needs a network that classifies; bert-tiny does"),
    ("resnet18", {"data": "synthetic"}, "needs real data"),
])
def test_an_accuracy_that_nobody_can_measure_is_no_target(model: str, options: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        planned("pytorch-ddp", model=model, of="time_to_accuracy", target="top1=0.9", **options)


@pytest.mark.parametrize("target", ["", "top1", "top1=", "top1=2", "top1=0", "top1=97%", "top1=nan", "top5=0.9",
                                    "0.97"])
def test_a_target_that_does_not_parse_says_how_one_looks(target: str) -> None:
    with pytest.raises(UsageError, match=r"a target is top1=SHARE, .* as in top1=0.97, not"):
        planned("pytorch-ddp", of="time_to_accuracy", target=target)


def test_a_target_is_part_of_the_job_and_of_what_repeats_it() -> None:
    (job,) = planned("pytorch-ddp", of="time_to_accuracy", target="top1=0.9", max_epochs=7).jobs
    assert isinstance(job, TargetJob) and top1(job) == 0.9
    assert "--target top1=0.9 --max-epochs 7" in job.reproduce()
    assert job.id != dataclasses.replace(job, target="top1=0.8").id != planned("pytorch-ddp").jobs[0].id
    assert TargetJob.from_json(job.to_json()) == job
