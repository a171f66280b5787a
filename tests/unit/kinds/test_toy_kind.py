"""A plug-in adds a kind of measurement in one folder: the spine runs, resumes, judges and shows it as its own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from running import PLUGINS, Command, eventually, offering
from toy_kind.result import ToyRecord

from dlcompare.core.typed_json import json_schema

VARIABLES = {**offering("toy_kind"), "COLUMNS": "160"}
TWO_ROUNDS = ("toy", "--way", "forwards,backwards,device", "--megabytes", "2", "--rounds", "2")
CORE = Path(__file__).parents[3] / "core"


def dlcompare(*words: str | Path, folder: Path, code: int = 0) -> str:
    """Return what a command prints in a folder."""
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", *map(str, words)], cwd=folder, text=True,
                          capture_output=True, timeout=120, env={**os.environ, **VARIABLES})
    assert done.returncode == code, done.stderr
    return done.stdout if code in (0, 1) else done.stderr


def flowing(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of two rounds, in which one of three cells was refused."""
    folder = tmp_path_factory.mktemp("toy")
    printed = dlcompare(*TWO_ROUNDS, folder=folder, code=1)  # not all that was asked for came out well
    (found,) = (folder / "runs").iterdir()
    (found / "printed").write_text(printed)
    return found


def records(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "records.json").read_text())
    return found


def test_every_cell_has_a_record_of_its_kind(run: Path) -> None:
    found = records(run)
    cells = [(one["framework"], one["round"], one["status"]) for one in found]
    assert cells == [("forwards", 0, "ok"), ("backwards", 0, "ok"), ("device", 0, "refused"),
                     ("forwards", 1, "ok"), ("backwards", 1, "ok")]
    for one in found:
        jsonschema.validate(one, json_schema(ToyRecord))
        assert one["kind"] == one["job"]["kind"] == "toy" and one["megabytes"] == 2
        assert one["reproduce"] == f"dlcompare toy --way {one['framework']} --megabytes 2 --windows 5"
    forwards = found[0]
    assert forwards["throughput"]["unit"] == "MB/s" and len(forwards["windows"]) == 5
    assert all(window["seconds"][0] > 0 for window in forwards["windows"])


def test_rounds_are_interleaved_in_the_order_of_the_plan(run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    ran = sorted((one for one in records(run) if one["status"] == "ok"), key=lambda one: one["windows"][0]["started"])
    planned = [f"{job}.r{number}" for number, jobs in enumerate(plan["order"]) for job in jobs if "device" not in job]
    assert plan["kind"] == "toy" and [one["id"] for one in ran] == planned
    assert plan["order"][0] == plan["order"][1][::-1]


def test_verdict_refusal_and_the_kinds_own_caveat_are_shown(run: Path) -> None:
    shown = (run / "printed").read_text()
    assert "Toy:" in shown and "2 MB at a time, 2 rounds, interleaved" in shown
    assert "MB/s" in shown and "samples/s" not in shown
    assert "slower" in shown or "undecided" in shown  # two rounds may not decide it
    assert "device copies between GPUs" in flowing(shown)
    assert "2 MB may have stayed in the processor's cache; raise --megabytes" in flowing(shown)


def test_stored_runs_are_shown_and_judged_again(run: Path, tmp_path: Path) -> None:
    shown = (run / "printed").read_text()
    assert dlcompare("report", run, folder=tmp_path) == shown
    assert dlcompare("compare", run, folder=tmp_path) == shown
    other = dlcompare("compare", run, "--baseline", "backwards", "--format", "json", folder=tmp_path)
    (comparison,) = json.loads(other)["comparisons"]
    assert comparison["baseline"]["name"] == "backwards" and comparison["sides"][0]["MB_per_s"] > 0
    assert json.loads(dlcompare("report", run, "--format", "json", folder=tmp_path)) == records(run)
    rows = list(csv.DictReader(io.StringIO(dlcompare("report", run, "--format", "csv", folder=tmp_path))))
    assert [row["status"] for row in rows] == [one["status"] for one in records(run)]
    assert float(rows[0]["MB_per_s"]) == records(run)[0]["throughput"]["value"] and rows[0]["megabytes"] == "2"
    assert "processor's cache" in rows[0]["warnings"] and rows[2]["MB_per_s"] == ""


def test_a_run_that_lacks_a_record_is_gone_on_with(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "runs" / run.name)
    again = tmp_path / "runs" / run.name
    before = {one["id"]: one for one in records(again)}
    lost = next(name for name in before if name.startswith("backwards") and name.endswith(".r1"))
    for file in ("record.json", "rank-0.json"):  # of the latter alone a record would be made again
        (again / lost / file).unlink()
    dlcompare(*TWO_ROUNDS, "--resume", folder=tmp_path, code=1)
    after = {one["id"]: one for one in records(again)}
    assert list((tmp_path / "runs").iterdir()) == [again] and after.keys() == before.keys()
    changed = {name for name in after if after[name]["windows"] != before[name]["windows"]}
    assert changed == {lost}


@pytest.mark.slow
def test_a_run_that_was_killed_is_gone_on_with(start: Callable[..., Command], tmp_path: Path) -> None:
    words = ("toy", "--way", "forwards,backwards", "--megabytes", "2", "--rounds", "3")
    killed = start(*words, **VARIABLES)
    assert eventually(lambda: bool(list(killed.out.glob("*/*.r1/record.json"))), within=60), killed.told
    killed.end()
    kept = {file.parent.name: json.loads(file.read_text())["windows"] for file in killed.out.glob("*/*/record.json")}
    second = start(*words, "--resume", **VARIABLES)
    assert second.wait() == 0, second.told
    (folder,) = second.runs
    found = {one["id"]: one["windows"] for one in records(folder)}
    assert len(found) == 6 and {name: found[name] for name in kept} == kept


@pytest.mark.slow
def test_rounds_go_on_until_all_is_decided(tmp_path: Path) -> None:
    printed = dlcompare("toy", "--way", "forwards,backwards", "--megabytes", "2", "--until-decided", "120", "--format",
                        "json", folder=tmp_path)
    found = json.loads(printed)
    (verdict,) = found["comparisons"][0]["verdicts"]
    assert verdict["word"] == "slower" and 3 <= verdict["rounds"] < 20
    assert all(one["rounds"] is None for one in found["records"])


def test_once_without_rounds_is_a_table_of_records(tmp_path: Path) -> None:
    shown = dlcompare("toy", "--way", "forwards", folder=tmp_path)
    assert "8 MB at a time" in shown and "MB/s: median over windows" in shown and "could see" not in shown


def test_what_does_not_exist_is_told(tmp_path: Path) -> None:
    assert "Did you mean 'backwards'?" in dlcompare("toy", "--way", "backward", folder=tmp_path, code=2)
    assert "--way must be given" in dlcompare("toy", folder=tmp_path, code=2)
    assert "unknown baseline" in dlcompare("toy", "--way", "forwards", "--baseline", "x", folder=tmp_path, code=2)


def test_the_folder_is_all_there_is_of_it() -> None:
    assert {path.name for path in (PLUGINS / "toy_kind").glob("*.py")} == {
        "__init__.py", "request.py", "worker.py", "result.py", "folding.py", "report.py"}
    assert not [path for path in CORE.rglob("*.py") if "toy" in path.read_text().lower()]
