"""Cases that a backend cannot run, chosen cases, empty answers: real worker processes, judged and reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from running import SLOW, offering

LOADED = (*SLOW, "lacking", "broken_dropout", "broken", "broken_ops", "broken_recurrent", "group")  # in workers too


def verify(*words: str, cwd: Path) -> tuple[int, str, str]:
    variables = {**offering(*LOADED), "DLCOMPARE_CACHE": str(cwd / "cache")}
    answer = subprocess.run(
        [sys.executable, "-m", "dlcompare.core", "verify", "--model", "speck", *words], cwd=cwd, text=True, timeout=120,
        capture_output=True, check=False, env={**os.environ, **variables})
    return answer.returncode, answer.stdout, answer.stderr


def outcome(*words: str, cwd: Path) -> dict[str, Any]:
    code, told, log = verify(*words, "--format", "json", cwd=cwd)
    (found,) = json.loads(told or log)
    return {"code": code, **found}


def failing(found: dict[str, Any]) -> set[str]:
    return {check["case"] for check in found["failed"]}


def test_an_op_that_is_missing_fails_its_own_cases_alone(tmp_path: Path) -> None:
    found = outcome("--framework", "lacking", "--check-workers", "1", cwd=tmp_path)
    assert found["code"] == 1 and failing(found) == {"gelu"} and found["failures"] == {"gelu": "KeyError: 'gelu'"}
    assert found["diagnosis"] == "op gelu cannot be run (KeyError: 'gelu') in gelu"
    assert found["checks"] > 300 and found["certificate"], "all other cases were run, and the certificate tells"
    assert not json.loads((tmp_path / found["certificate"]).read_text())["passed"]


def test_ranks_pass_over_a_case_together(tmp_path: Path) -> None:
    """Whether all ranks fail in it, or one while the others wait behind it; without gradients exchanged none agrees."""
    found = outcome("--framework", "lacking-in-pairs", "--check-workers", "2", "--case", "gelu,tanh,relu,dense",
                    cwd=tmp_path)
    assert found["reason"] is None
    assert found["failures"] == {"gelu": "KeyError: 'gelu'", "tanh": "RuntimeError: rank 1 cannot"}
    assert {"gelu", "tanh", "relu"} <= failing(found)


def test_chosen_cases_leave_no_certificate(tmp_path: Path) -> None:
    code, told, _ = verify("--framework", "lacking", "--check-workers", "1", "--case", "sgd,relu", cwd=tmp_path)
    assert code == 0 and "AGREES        lacking, speck" in told and "certificate: none, for not all cases" in told
    assert [line.split()[1] for line in told.splitlines() if line.startswith("  ok")] == ["relu", "sgd", "answers"]
    assert not (tmp_path / "cache" / "certificates").exists() and not list(tmp_path.rglob("certificate-*.json"))


def test_the_first_failure_may_be_the_last(tmp_path: Path) -> None:
    words = "--framework", "silent", "--check-workers", "1", "--case", "gelu,tanh,dropout-training"
    found = outcome(*words, "--fail-fast", cwd=tmp_path)
    assert failing(found) == {"gelu"} and found["diagnosis"] == "no case could be run: KeyError: 'gelu'"


def test_empty_answers_and_dropout_that_never_drops_are_no_proof(tmp_path: Path) -> None:
    code, told, _ = verify("--framework", "silent", "--check-workers", "1", "--case", "relu,dropout-training",
                           cwd=tmp_path)
    lines = told.splitlines()
    assert code == 1 and lines[0].startswith("DIFFERS")
    assert lines[1] == ("  diagnosis: op dropout in training: it never drops where it trains; settings() and "
                        "versions() of the trainer tell nothing: records could not say what was measured")
    assert any("FAIL answers" in line and "settings() tells nothing" in line for line in lines)


def test_what_says_that_the_job_cannot_go_on_ends_it(tmp_path: Path) -> None:
    found = outcome("--framework", "gone", "--check-workers", "1", "--case", "relu,tanh", cwd=tmp_path)
    assert found["reason"] == "the device is gone" and not found["checks"]
