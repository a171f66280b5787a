"""Outcomes of verification as people and programs get them, and the exit code that follows from them."""

from __future__ import annotations

import dataclasses
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
    (outcome(WRONG, first_divergence="fc", diagnosis="the optimiser: none"), (
        "DIFFERS       pytorch-ddp", "on cpu, 2 worker(s)\n  diagnosis: the optimiser: none", "FAIL resnet18", "1 of 3",
        "parameter/fc.weight: error 1.0e+00, tolerance 1.0e-06", "first to diverge: fc")),
    (refused(JOB, "no GPU here"), ("NOT VERIFIED  pytorch-ddp", "no GPU here")),
    (failed(JOB, "killed", log="/runs/log.txt"), ("NOT VERIFIED", "killed (log: /runs/log.txt)")),
])
def test_an_outcome_is_told(record: VerificationRecord, words: tuple[str, ...]) -> None:
    assert all(word in shown("table", record) for word in words)
    assert kind("verification").passed([record]) == record.passed == (record.checks == RIGHT)


def test_what_cannot_be_run_says_why() -> None:
    wrong = Check("gelu", "raised", float("inf"), 1.0), Check("answers", "settings", float("inf"), 1.0)
    raised = outcome((*RIGHT, *wrong), failures={"gelu": "KeyError: 'gelu'"})
    told = shown("table", raised).splitlines()
    assert any("FAIL gelu" in line and "0 of 1    KeyError: 'gelu'" in line for line in told)
    assert any("FAIL answers" in line and "settings() tells nothing" in line for line in told)


def test_what_passes_where_cases_were_chosen_is_no_proof() -> None:
    told = shown("table", dataclasses.replace(outcome(RIGHT), certificate=None))
    assert told.startswith("AGREES  ") and "VERIFIED" not in told and told.endswith("not all cases were run")


def test_one_worker_right_and_two_wrong_come_first() -> None:
    one = dataclasses.replace(outcome(RIGHT), workers=1)
    told = shown("table", one, outcome(WRONG, diagnosis="the all-reduce: it sums"), refused(JOB, "no"))
    assert told.startswith("pytorch-ddp, fp32, eager: right with 1 worker, wrong with 2 workers: look at what the "
                           "workers exchange\n\nVERIFIED")
    assert "look at" not in shown("table", one, refused(JOB, "no"))


def test_programs_get_what_failed_and_where_the_rest_is() -> None:
    right, wrong, none = json.loads(shown("json", outcome(RIGHT), outcome(WRONG), refused(JOB, "no")))
    assert right.keys() == wrong.keys() == none.keys() == {
        "framework", "model", "image_size", "precision", "device", "workers", "execution", "layout", "passed", "reason",
        "first_divergence", "diagnosis", "failures", "checks", "failed", "certificate"}
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
