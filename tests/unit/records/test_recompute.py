"""A record that is read again holds what its raw values give, and says which field was written otherwise."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fabricated import comparison, finished, in_rounds, job, ranks

from dlcompare.core.kinds.time_to_accuracy.result import Examination, Target, TargetRecord
from dlcompare.core.kinds.training.result import LossPoint, TrainingRecord
from dlcompare.core.records import doubts
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.recompute import meaning, recomputed
from dlcompare.core.records.record import Record, Window
from dlcompare.core.reports.words import sentence

MADE = finished(job(), ranks(job(), (2.0, 2.9, 2.1, 2.8, 2.0)))
TARGETS = Path(__file__).parents[3] / "docs" / "results" / "2026-11-24-four-cpu" / "target.json"


def fields(record: Record) -> dict[str, tuple[Any, Any]]:
    """Return by field what was written and what was made anew."""
    return {one.values["field"]: (one.values["written"], one.values["recomputed"])
            for one in record.warnings if one.kind == "altered"}


def edited(**fields: Any) -> TrainingRecord:
    return dataclasses.replace(MADE, **fields)


def test_what_nobody_has_altered_is_as_it_was() -> None:
    for one in [MADE, *comparison(), *in_rounds(job(), [1.0, 1.1])]:
        assert recomputed(type(one).from_json(one.to_json())) == one


@pytest.mark.parametrize(("field", "value"), [
    ("throughput", dataclasses.replace(MADE.throughput, value=900.0)),  # type: ignore[type-var]
    ("throughput", dataclasses.replace(MADE.throughput, low=899.0)),  # type: ignore[type-var]
    ("step_time", dataclasses.replace(MADE.step_time, p99=0.001)),  # type: ignore[type-var]
    ("warmup", dataclasses.replace(MADE.warmup, seconds=0.1)),  # type: ignore[type-var]
    ("flops_per_second", 1e15), ("global_batch", 1024), ("disturbed", True), ("throughput", None),
])
def test_an_edited_field_is_computed_anew_and_told(field: str, value: Any) -> None:
    found = recomputed(edited(**{field: value}))
    assert getattr(found, field) == getattr(MADE, field)
    ((name, (_, made)),) = fields(found).items() if field != "throughput" or value else [*fields(found).items()][:1]
    assert name.partition(".")[0] == field and made is not None


def test_samples_that_the_steps_are_not_and_slow_windows_marked_as_disturbed_are_told() -> None:
    doubled = tuple(dataclasses.replace(one, samples=2 * one.samples) for one in MADE.windows)
    found = recomputed(edited(windows=doubled))
    assert found.throughput == MADE.throughput and fields(found)["windows[0].samples"] == (96, 48)
    hidden = (*MADE.windows[:1], dataclasses.replace(MADE.windows[1], discarded=Caveat.of("foreign", cores=2.0)),
              *MADE.windows[2:])
    found = recomputed(edited(windows=hidden))
    assert not found.windows[1].discarded and fields(found)["windows[1].discarded"] == (True, False)


def test_a_warning_that_was_taken_out_is_back() -> None:
    assert "spread" in {one.kind for one in MADE.warnings}
    found = recomputed(edited(warnings=()))
    assert fields(found)["warnings.spread"] == (None, True)
    assert {one.kind for one in found.warnings} >= {one.kind for one in MADE.warnings}


def test_a_sentence_stands_for_the_doubt_that_it_tells_alone() -> None:
    assert fields(recomputed(edited(warnings=(Caveat.told("all is well"),))))["warnings.spread"] == (None, True)
    kept = tuple(Caveat.told(sentence(one)) for one in MADE.warnings)
    assert recomputed(edited(warnings=kept)) == edited(warnings=kept)


@pytest.mark.parametrize("doubt", [
    doubts.spread([10, 10, 12, 8, 11.5, 8.5]), doubts.drift([10, 10, 10.2, 10.2, 11, 11]),
    doubts.drift([10, 9.9, 9.8, 9.7, 9.6]), doubts.short([2.0]), doubts.stall([2, 2, 2], [0.01, 0.5, 0.2])])
def test_each_doubt_is_known_by_its_sentence(doubt: Caveat) -> None:
    assert meaning(Caveat.told(sentence(doubt))) == doubt.kind


def test_what_would_have_failed_did_not_end_well() -> None:
    diverged = (LossPoint(0, 6.9), LossPoint(4, None))
    found = recomputed(edited(loss=diverged))
    assert found.status == "failed" and "the loss is not finite at step 4" in str(found.reason)
    assert fields(found)["status"] == ("ok", "failed") and found.throughput is None
    system = {**MADE.system, "accelerators": [{"name": "NVIDIA Tesla V100-SXM2-16GB"}] * 2}
    fast = tuple(dataclasses.replace(one, seconds=(1e-4, 1e-4)) for one in MADE.windows)
    found = recomputed(edited(windows=fast, device="cuda", system=system))
    assert found.status == "failed" and "above the device's peak" in str(found.reason)


def test_a_number_without_windows_is_no_number() -> None:
    found = recomputed(edited(windows=()))
    assert found.throughput is None and fields(found)["throughput"][1] is None


def test_a_target_that_its_curve_did_not_reach_is_told() -> None:
    curve = (Examination(1, 40, 9.5, 1.2, 0.41, 0.9), Examination(2, 80, 19.0, 0.9, 0.62, 0.95))
    target = Target("top1", 0.97, True, 0.98, 4.0, 1.0, 2, 80, 1280, 500, curve)
    plain = {**MADE.to_dict(), "kind": "time_to_accuracy", "target": dataclasses.asdict(target)}
    found = recomputed(TargetRecord.from_dict(plain))
    assert fields(found) == {"target.value": (0.98, 0.62), "target.reached": (True, False),
                             "target.seconds": (4.0, 19.0)}


def test_what_a_target_is_its_job_says_and_how_far_it_went_its_curve() -> None:
    record = TargetRecord.from_dict(json.loads(TARGETS.read_text())[0])
    assert recomputed(record) == record and record.target
    lowered = dataclasses.replace(record.target, wanted=0.5, curve=record.target.curve[:1])
    found = recomputed(dataclasses.replace(record, target=lowered))
    assert fields(found)["target.wanted"] == (0.5, 0.97) and found.target and not found.target.reached
    fewer = dataclasses.replace(record.target, steps=1, samples=1)
    assert fields(recomputed(dataclasses.replace(record, target=fewer))) == {
        "target.steps": (1, 220), "target.samples": (1, 7040)}


def test_every_window_is_believed_only_within_what_can_be() -> None:
    assert MADE.samples_of(Window(steps=3, samples=1, seconds=(1.0,), started=0.0)) == 48
