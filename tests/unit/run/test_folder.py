"""A run folder found again, and the records in it: what is damaged, or another job's, is told and does not count."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fabricated import finished, job, ranks

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Options, Prepared, Run, kind
from dlcompare.core.plan.plan import Plan, silent
from dlcompare.core.run.folder import read_record, resumable
from dlcompare.core.run.runner import Runner
from dlcompare.core.variables import PLAN, RECORD


@pytest.mark.parametrize("damage", ["", "[]", "null", '{"schema": 2, "windows": 7}', "[" * 100_000, "\0\x07", None])
def test_a_damaged_record_does_not_count(damage: str | None, tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    if damage is None:
        (tmp_path / RECORD).mkdir()
    else:
        (tmp_path / RECORD).write_text(damage)
    assert read_record(kind("training"), tmp_path) is None
    assert capsys.readouterr().err.startswith(f"dlcompare: {tmp_path / RECORD} cannot be read (")


def test_a_record_counts_in_the_folder_of_its_job_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = dataclasses.replace(finished(job(), ranks(job())), id="mine")
    for name in ("mine", "another"):
        (tmp_path / name).mkdir()
        (tmp_path / name / RECORD).write_text(record.to_json())
    assert read_record(kind("training"), tmp_path / "mine") == record and capsys.readouterr().err == ""
    assert read_record(kind("training"), tmp_path / "another") is None
    assert "cannot be read (it is of another job, mine): it does not count" in capsys.readouterr().err
    assert read_record(kind("training"), tmp_path / "nowhere") is None and capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["", "[]", '{"digest": ', '{"jobs": []}'])
def test_a_damaged_plan_is_passed_over_with_its_name(damage: str, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan("training", (job(),))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PLAN).write_text(f'{{"digest": "{plan.digest}"}}')
    assert resumable(plan, tmp_path) == tmp_path / "run" and capsys.readouterr().err == ""
    (tmp_path / "run" / PLAN).write_text(damage)
    assert resumable(plan, tmp_path) is None
    said = capsys.readouterr().err
    assert f"dlcompare: {tmp_path / 'run' / PLAN} cannot be read (" in said
    assert f"--resume finds no run of this very command below {tmp_path}: a new one begins" in said


def test_what_is_started_again_meets_no_last_words_of_before(tmp_path: Path) -> None:
    one, folder = job(), tmp_path / "calibration"
    folder.mkdir()
    for name in ("job.json", "error-7.json"):
        (folder / name).write_text("{}")
    runner = Runner(Plan("training", (one,)), kind("training"), tmp_path, Options(), silent,
                    pythons={(one.runtime, one.device): Path("/nowhere/python")})
    assert "cannot be started" in str(runner.start(one, folder, label=""))
    assert not (folder / "error-7.json").exists() and (folder / "job.json").read_text() == one.to_json()
    assert [(before / "error-7.json").read_text() for before in tmp_path.glob("calibration.*")] == ["{}"]


@pytest.mark.parametrize("resume", [True, False])
def test_only_a_new_run_that_cannot_be_prepared_leaves_nothing(resume: bool, tmp_path: Path) -> None:
    class Unprepared(type(kind("training"))):  # type: ignore[misc]
        __module__ = type(kind("training")).__module__  # where its files are

        def prepare(self, plan: Plan, run: Run) -> Prepared:
            raise UsageError("the data have gone")

    one, run = job(), tmp_path / "run"
    (run / one.id).mkdir(parents=True)
    (run / one.id / "log.txt").write_text("of before")
    with pytest.raises(UsageError, match="the data have gone"):
        Runner(Plan("training", (one,)), Unprepared(), run, Options(resume=resume), silent).all()
    assert [file.read_text() for file in run.glob("*/log.txt")] == (["of before"] if resume else [])


def test_a_record_that_was_altered_is_resumed_with_what_its_raw_values_give(tmp_path: Path) -> None:
    made = finished(job(), verified={"certificate": "deadbeefdeadbeef", "passed": True, "date": "2026-11-25",
                                     "image_size": 64, "workers": 2})
    (tmp_path / made.id).mkdir()
    plain = made.to_dict()
    plain["throughput"]["value"] = 900.0
    (tmp_path / made.id / "record.json").write_text(json.dumps(plain))
    found = read_record(kind("training"), tmp_path / made.id)
    assert found and found.throughput == made.throughput and found.verified is None
    assert {one.kind for one in found.warnings} >= {"altered", "unproved"}
