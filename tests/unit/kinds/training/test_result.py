"""Records of schema 1 become what they would be today."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fabricated import finished, in_rounds, job, ranks

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import AS_USUAL
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.kinds.time_to_accuracy.result import TargetRecord
from dlcompare.core.kinds.training.result import TrainingRecord
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.reports.words import sentence, sentences

OF_NOW = ("kind", "verified_before")


def of_schema_1(record: TrainingRecord) -> dict[str, Any]:
    """Return a record as the first version wrote it: sentences for caveats, and one job for all kinds."""
    data = {name: value for name, value in record.to_dict().items() if name not in OF_NOW}
    job_ = {**{name: value for name, value in data["job"].items() if name != "kind"}, "task": "train", "cases": [],
            "target": None, "max_epochs": 100}
    windows = [{name: value for name, value in window.items() if name != "joules"} | {
        "discarded": one.discarded and sentence(one.discarded)}
        for window, one in zip(data["windows"], record.windows, strict=True)]
    return data | {"schema": 1, "target": None, "job": job_, "windows": windows, "settings": record.settings.flat(),
                   "warnings": sentences(record.warnings), "discarded": sentences(record.discarded)}


def disturbed() -> TrainingRecord:
    first, second = ranks(job(), (2.31, 2.72, 2.36, 2.9, 2.33), feed=0.21)
    windows = (dataclasses.replace(first.windows[0], foreign_cores=0.9), *first.windows[1:])
    return finished(job(), [dataclasses.replace(first, windows=windows), second])


def test_a_record_of_schema_1_is_the_same_but_for_its_caveats_being_sentences() -> None:
    made = disturbed()
    found = TrainingRecord.from_dict(of_schema_1(made))
    assert made.warnings and len(made.discarded) == 2 and made.windows[0].discarded
    assert [sentences(of) for of in (found.warnings, found.discarded)] == [
        sentences(of) for of in (made.warnings, made.discarded)]
    assert found.windows[0].discarded == Caveat.told(sentence(made.windows[0].discarded))
    assert found.discarded[0].kind == "warm-up steps", "which nobody need be warned of"
    plain = {"warnings": (), "discarded": (), "windows": ()}
    assert dataclasses.replace(found, **plain) == dataclasses.replace(made, **plain)


def test_a_target_of_schema_1_keeps_its_job_and_its_curve() -> None:
    target = {"quantity": "top1", "wanted": 0.9, "reached": True, "value": 0.91, "seconds": 3.0, "steps": 4,
              "evaluation_seconds": 0.1, "epochs": 1, "samples": 64, "test_samples": 10,
              "curve": [{"epoch": 1, "step": 4, "seconds": 3.0, "loss": 0.2, "top1": 0.91, "top5": 1.0}]}
    old = of_schema_1(finished(job()))
    old |= {"target": target, "job": old["job"] | {"target": "top1=0.9", "max_epochs": 7}}
    found = TargetRecord.from_dict(old)
    assert found.kind == "time_to_accuracy" and found.target and found.target.curve[0].top1 == 0.91
    assert kind("time_to_accuracy").job.from_plain(found.job).target == "top1=0.9"
    assert found.job["max_epochs"] == 7 and "task" not in found.job


def test_sentences_of_schema_1_are_counted_by_what_they_say() -> None:
    """Three rounds of seven are shaky, two of them in the same way; warm-up is no warning."""
    rounds = in_rounds(job(), [1.0] * 7)
    said = {1: "throughput varies between windows: the interquartile range is 9.1 % of the median",
            2: "throughput varies between windows: the interquartile range is 5.1 % of the median",
            5: "input was too slow: in 3 of 5 windows"}
    old = [TrainingRecord.from_dict(of_schema_1(one) | {"warnings": [said[one.round]] if one.round in said else []})
           for one in rounds]
    text = " ".join(kind("training").report(Answer(old), "table", AS_USUAL).split())
    assert "in 2 of 7 rounds, first: throughput varies between windows: the interquartile range is 9.1 %" in text
    assert "in 1 of 7 rounds, first: input was too slow" in text and " 3 warm-up steps" not in text


@pytest.mark.parametrize("change", [{"surplus": 1}, {"windows": [{"steps": 1}]}, {"warmup": {"steps": 1}}])
def test_what_was_no_record_of_schema_1_still_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"unknown record key 'surplus'|must have"):
        TrainingRecord.from_dict(of_schema_1(finished(job())) | change)
