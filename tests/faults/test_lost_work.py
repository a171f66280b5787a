"""What has been measured is kept: whatever becomes of the launcher, of the disk, or of the record afterwards."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import Command, eventually

Start = Callable[..., Command]


def caveats(record: dict[str, Any]) -> dict[str, Any]:
    return {one["kind"]: one["values"] for one in record["warnings"]}


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_launcher_that_ends_badly_after_all_is_done_costs_nothing(start_slow: Start, number: signal.Signals) -> None:
    command = start_slow("--framework", "lingering", "--workers", "2", "--timeout", "3")
    workers = command.until("lingering", "window", count=2)  # when they have ended, nobody can tell whose they were
    (launcher,) = {psutil.Process(event["pid"]).parents()[1] for event in workers}
    command.until("lingering", "done", count=2)
    launcher.send_signal(number)
    assert command.wait(30) == 0, command.told
    record = command.records()["lingering"]
    assert record["status"] == "ok" and len(record["windows"]) == 2
    assert "reason" in caveats(record)["ended badly"]
    assert command.nothing_left()


@pytest.mark.slow
def test_a_launcher_that_is_killed_when_all_have_written_costs_nothing(train: Start, framework: str) -> None:
    command = train("--framework", framework, "--windows", "3")
    command.until(framework, "window", within=120)
    folder = command.job(framework)
    assert folder and eventually(lambda: len(list(folder.glob("rank-*.json"))) == 2, within=60)
    for launcher in psutil.Process(command.process.pid).children():
        launcher.kill()
    assert command.wait(60) == 0, command.told
    record = command.records()[framework]
    assert record["status"] == "ok" and len(record["windows"]) == 3
    assert command.nothing_left()


@pytest.fixture
def disk(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """Return a function that makes of a shell script a prefix: it sees a small disk of its own at its $0."""
    mount = 'mkdir -p "$0" && mount -t tmpfs -o size=192k none "$0" && '
    prefix, place = ("unshare", "-rm", "sh", "-c"), str(tmp_path / "disk")
    if shutil.which("unshare") is None or subprocess.run([*prefix, f"{mount} true", place], check=False).returncode:
        pytest.skip("needs a kernel that lets this user mount a tmpfs in a namespace of its own (unshare -rm)")
    return lambda script: (*prefix, f"{mount} {{ {script}\n}}", place)


# Fills a disk as soon as a window has been measured there.
FILLING = """(until grep -qs '"window"' "$0"/runs/*/*/events.jsonl; do sleep 0.05; done
cat /dev/zero >"$0/fat" 2>/dev/null) &
exec "$@" """


def test_a_disk_that_fills_while_a_job_measures_loses_no_window(start_slow: Start, tmp_path: Path,
                                                                disk: Callable[[str], tuple[str, ...]]) -> None:
    command = start_slow("--framework", "slow", "--windows", "30", out=tmp_path / "disk" / "runs", prefix=disk(FILLING))
    command.wait()
    record = command.records()["slow"]
    assert (record["status"], len(record["windows"])) == ("ok", 30), record["reason"]
    assert "Traceback" not in command.told


@pytest.mark.slow
def test_results_without_a_record_become_one_when_the_run_goes_on(start_slow: Start) -> None:
    first = start_slow("--framework", "slow", SLOW_STEP="0")
    assert first.wait() == 0
    folder = first.job("slow")
    assert folder
    (folder / "record.json").unlink()
    again = start_slow("--framework", "slow", "--resume", SLOW_STEP="0")
    assert again.wait() == 0
    before, after = first.records()["slow"], again.records()["slow"]
    assert after["windows"] == before["windows"] and after["system"] == before["system"]
    assert abs(after["duration_s"] - before["duration_s"]) < 2 and after["started"] == before["started"]
    assert again.kept() == again.records()


@pytest.mark.slow
def test_parameters_that_do_not_fit_on_the_disk_cost_no_measurement(start_slow: Start, tmp_path: Path,
                                                                    disk: Callable[[str], tuple[str, ...]]) -> None:
    words = ("--framework", "slow", "--model", "bert-tiny", "--windows", "1", "--save")
    command = start_slow(*words, out=tmp_path / "disk" / "runs", prefix=disk('exec "$@"'), SLOW_STEP="0")
    assert command.wait() == 1, command.told
    record = command.records()["slow"]
    assert (record["status"], len(record["windows"])) == ("ok", 1), record["reason"]
    assert "No space left on device" in caveats(record)["ended badly"]["reason"]
    assert caveats(record)["not kept"]["what"] == "the trained parameters"


def test_a_limit_on_file_sizes_is_said_before_anything_is_measured(start_slow: Start) -> None:
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    prefix = (sys.executable, "-c", limited + "os.execv(sys.argv[1], sys.argv[1:])")
    command = start_slow("--framework", "slow", prefix=prefix, SLOW_STEP="0")
    assert command.wait() == 1
    reason = command.records()["slow"]["reason"]
    assert "no file may be larger than 20000 bytes here, so raise that limit (ulimit -f)" in reason


@pytest.mark.slow
def test_a_run_whose_records_are_damaged_goes_on(start_slow: Start) -> None:
    words = ("--framework", "reference,slow", "--resume")
    first = start_slow(*words, SLOW_STEP="0")
    assert first.wait() == 0
    folders = [folder for name in ("reference", "slow") if (folder := first.job(name))]
    (folders[1] / "record.json").write_text((folders[0] / "record.json").read_text())
    (folders[0] / "record.json").unlink()
    (folders[0] / "record.json").mkdir()
    again = start_slow(*words, SLOW_STEP="0")
    assert again.wait() == 0, again.told
    assert f"{folders[0] / 'record.json'} cannot be read (it is no file): it does not count" in again.told
    assert f"{folders[1] / 'record.json'} cannot be read (it is of another job, {folders[0].name}" in again.told
    assert again.records() == again.kept() and len(again.runs) == 1
    assert [again.records()[name]["windows"] == first.records()[name]["windows"] for name in again.records()]
