"""Outcomes of verification as people and programs get them, and the exit code that follows from them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fabricated import RUN, failed, refused

from dlcompare.core.conformance.check import Check
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.kinds.verification.request import VerificationJob
from dlcompare.core.kinds.verification.result import VerificationRecord
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.run.stored import parse

JOB = VerificationJob("pytorch-ddp", "resnet18", image_size=32, workers=2, execution="eager", cases=("relu", "model"))
RIGHT = (Check("relu", "activation/y", 1e-7, 1e-6), Check("resnet18", "loss", 0.0, 1e-6))
WRONG = (*RIGHT, Check("resnet18", "parameter/fc.weight", 1.0, 1e-6), Check("resnet18", "gradient", float("nan"), 1e-6))


def outcome(checks: tuple[Check, ...], **more: Any) -> VerificationRecord:
    found: VerificationRecord = kind("verification").outline(
        JOB, Circumstances(run=RUN), status="ok", checks=checks, certificate="/runs/certificate.json", **more)
    return found


def shown(form: str, *records: VerificationRecord) -> str:
    return kind("verification").report(Answer(records), form, None)


@pytest.mark.parametrize(("record", "words"), [
    (outcome(RIGHT), ("VERIFIED      pytorch-ddp, resnet18 at 32 x 32, fp32, eager on cpu, 2 worker(s)",
                      "ok   relu", "1 of 1", "certificate: /runs/certificate.json")),
    (outcome(WRONG, first_divergence="fc"), ("DIFFERS       pytorch-ddp", "FAIL resnet18", "1 of 3",
                                             "parameter/fc.weight: error 1.0e+00, tolerance 1.0e-06",
                                             "first to diverge: fc")),
    (refused(JOB, "no GPU here"), ("NOT VERIFIED  pytorch-ddp", "no GPU here")),
    (failed(JOB, "killed", log="/runs/log.txt"), ("NOT VERIFIED", "killed (log: /runs/log.txt)")),
])
def test_an_outcome_is_told(record: VerificationRecord, words: tuple[str, ...]) -> None:
    assert all(word in shown("table", record) for word in words)
    assert kind("verification").passed([record]) == record.passed == (record.checks == RIGHT)


def test_programs_get_what_failed_and_where_the_rest_is() -> None:
    right, wrong, none = json.loads(shown("json", outcome(RIGHT), outcome(WRONG), refused(JOB, "no")))
    assert right.keys() == wrong.keys() == none.keys() == {
        "framework", "model", "image_size", "precision", "device", "workers", "execution", "layout", "passed", "reason",
        "first_divergence", "checks", "failed", "certificate"}
    assert (right["passed"], right["checks"], right["failed"]) == (True, 2, [])
    assert [(one["quantity"], one["error"]) for one in wrong["failed"]] == [("parameter/fc.weight", 1.0),
                                                                            ("gradient", None)]
    assert (none["passed"], none["reason"], none["certificate"]) == (False, "no", None)


def test_an_outcome_without_checks_is_no_proof() -> None:
    assert not outcome(()).passed


def test_records_are_read_back() -> None:
    right = outcome(RIGHT)
    assert parse(right.to_json()) == [right]
    (wrong,) = parse(outcome(WRONG).to_json())
    assert isinstance(wrong, VerificationRecord) and not wrong.passed, "an error that was NaN still fails"
