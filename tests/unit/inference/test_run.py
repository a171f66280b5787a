"""Whole runs of infer on the spine: resumed, held against a second one, judged; by the reference's own predict."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import offering

WORDS = ("--model", "tiny-residual", "--engine", "reference", "--data", "stripes", "--precision", "fp32", "--batch",
         "1,2", "--rounds", "3", "--windows", "1", "--window-seconds", "0.02", "--samples", "6")


def infer(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **offering("tiny")}
    return subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=folder, capture_output=True, text=True,
                          env=environment, timeout=300, check=False)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    (run,) = (folder / "runs").iterdir()
    return {one["id"]: one for one in json.loads((run / "records.json").read_text())}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    done = infer(folder, "infer", *WORDS)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_cell_leaves_a_record_of_its_kind(ended: Path) -> None:
    found = records(ended)
    assert {one["kind"] for one in found.values()} == {"inference"} and len(found) == 1 + 2 * 3
    assert sorted((one["batch_per_worker"], one["round"]) for one in found.values() if one["task"] == "measure") == [
        (batch, number) for batch in (1, 2) for number in range(3)]
    (predicted,) = [one for one in found.values() if one["task"] == "predict"]
    assert predicted["accuracy"]["samples"] == 6 and predicted["variant"] == "precision=fp32"
    assert all(one["reproduce"].startswith("dlcompare infer --model tiny-residual") for one in found.values())


def test_resume_runs_what_is_lost_and_nothing_else(ended: Path) -> None:
    before = records(ended)
    (run,) = (ended / "runs").iterdir()
    lost = next(name for name, one in before.items() if one["round"] == 1)
    for name in ("record.json", "rank-0.json"):  # from what ranks have left it would be made again without running
        (run / lost / name).unlink()
    again = infer(ended, "infer", *WORDS, "--resume")
    assert again.returncode == 0 and again.stderr.count(": ok") == 1
    after = records(ended)
    assert list(after) == list(before) and after[lost] != before[lost]
    assert all(after[name] == one for name, one in before.items() if name != lost)


def test_a_second_resume_at_the_same_time_is_refused(ended: Path) -> None:
    (run,) = (ended / "runs").iterdir()
    with (run / "plan.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = infer(ended, "infer", *WORDS, "--resume")
    assert done.returncode == 2 and "another process is at work in it" in done.stderr


def test_a_stored_run_is_reported_and_compared(ended: Path) -> None:
    (run,) = (ended / "runs").iterdir()
    shown = infer(ended, "report", str(run))
    assert shown.returncode == 0 and "Accuracy" in shown.stdout and "Speed" in shown.stdout
    assert infer(ended, "compare", str(run), "--baseline", "nobody").returncode == 2
    assert len(json.loads(infer(ended, "report", str(run), "--format", "json").stdout)["cells"]) == 6


@pytest.mark.slow
def test_rounds_end_when_all_is_decided(tmp_path: Path) -> None:
    """One side has nobody to be compared with, so the least number of rounds decides all."""
    done = infer(tmp_path, "infer", *WORDS[:-6], "--windows", "1", "--window-seconds", "0.02", "--no-accuracy",
                 "--until-decided", "300")
    assert done.returncode == 0, done.stderr
    assert {one["round"] for one in records(tmp_path).values()} == {0, 1, 2}
    assert all(one["rounds"] is None for one in records(tmp_path).values())
