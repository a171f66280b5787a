"""Whole runs through the command line: what is kept, what is told and what is left when things go wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import SLOW, Command, offering

from dlcompare.core.cli.progress import Progress
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.reports.words import sentence

Start = Callable[..., Command]
BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")  # how a script starts what it does not wait for


def kill_worker(command: Command, framework: str) -> None:
    """Kill a job's only worker in the middle of its windows."""
    (event, *_) = command.until(framework, "window")
    os.kill(event["pid"], signal.SIGKILL)


@pytest.fixture
def broken_run(start_slow: Start) -> Command:
    """Return an ended run of three jobs whose second was killed in the middle."""
    command = start_slow("--framework", "reference,slow,crashing", "--windows", "50")
    kill_worker(command, "slow")
    assert command.wait() == 1
    return command


def test_a_killed_worker_is_a_failed_record_and_the_others_are_kept(broken_run: Command) -> None:
    records = broken_run.records()
    assert [records[name]["status"] for name in ("reference", "slow", "crashing")] == ["ok", "failed", "failed"]
    assert "(rank 0) died without a word" in records["slow"]["reason"]
    assert "memory ran out" in records["crashing"]["reason"]
    assert all((broken_run.runs[-1] / records[name]["log"]).is_file() for name in records)
    assert broken_run.kept() == records
    assert broken_run.nothing_left()


def test_resume_keeps_what_is_finished_and_runs_the_rest_in_clean_folders(broken_run: Command,
                                                                          start_slow: Start) -> None:
    dirty = broken_run.job("slow")
    assert dirty
    (dirty / "rank-0.json").write_text("left by a dead worker")
    again = start_slow("--framework", "reference,slow,crashing", "--windows", "50", "--resume", SLOW_STEP="0")
    assert again.wait() == 1
    before, after = broken_run.records(), again.records()
    assert after["reference"] == before["reference"]
    assert "reference" not in again.told
    assert (after["slow"]["status"], after["crashing"]["status"]) == ("ok", "failed")
    assert len(again.runs) == 1
    assert list(again.kept()) == ["reference", "slow", "crashing"]
    assert {f.name for f in dirty.iterdir()} == {
        "begun.json", "events.jsonl", "job.json", "log.txt", "meters.jsonl", "rank-0.json", "record.json"}
    assert [(f / "rank-0.json").read_text() for f in dirty.parent.glob("slow-*.*")] == ["left by a dead worker"]


def test_resume_reads_results_where_a_record_is_damaged_and_writes_the_lost_list_again(start_slow: Start) -> None:
    words = ("--framework", "reference,slow")
    first = start_slow(*words)
    assert first.wait() == 0
    kept = first.job("reference")
    assert kept
    (kept / "record.json").write_text('{"schema": 1, "status": "o')
    (first.runs[0] / "records.json").unlink()
    (first.out / "strange").mkdir()
    (first.out / "strange" / "plan.json").write_text("[]")
    again = start_slow(*words, "--resume")
    assert again.wait() == 0
    assert again.records()["slow"] == first.records()["slow"]
    assert again.records()["reference"]["windows"] == first.records()["reference"]["windows"], "its results were there"
    assert again.records() == again.kept()
    (first.runs[0] / "records.json").unlink()
    third = start_slow(*words, "--resume")
    assert third.wait() == 0
    assert third.kept() == third.records() == again.records()


def test_what_is_no_result_fails_its_job_and_no_other(start_slow: Start) -> None:
    command = start_slow("--framework", "nonsense,reference", SLOW_STEP="0")
    assert command.wait() == 1
    records = command.records()
    assert "rank result versions must be of type str, not '3'" in records["nonsense"]["reason"]
    assert [records[name]["status"] for name in ("nonsense", "reference")] == ["failed", "ok"]
    assert command.kept() == records and "Traceback" not in command.told


def test_a_verification_is_kept_and_resumed(start: Start, tmp_path: Path) -> None:
    """One worker is verified, two are refused, which is neither proof nor run again for nothing."""
    variables = {**offering(*SLOW), "DLCOMPARE_CACHE": str(tmp_path / "cache")}
    words = ("verify", "--framework", "reference", "--model", "speck", "--check-workers")
    first = start(*words, "1,2", **variables)
    assert first.wait() == 1, "what is refused is not verified"
    one, two = json.loads((first.runs[0] / "records.json").read_text())
    assert (one["kind"], one["status"], two["status"]) == ("verification", "ok", "refused")
    assert Path(one["certificate"]).is_file()
    again = start(*words, "1,2", "--resume", **variables)
    assert again.wait() == 1 and len(again.runs) == 1
    assert "verify conv" not in again.told and "verify conv" in first.told
    assert json.loads((first.runs[0] / "records.json").read_text())[0] == one
    alone = start(*words, "1", "--resume", **variables)
    assert alone.wait() == 0 and len(alone.runs) == 2, "another request is another run"


def test_other_options_start_anew(start_slow: Start) -> None:
    assert start_slow("--framework", "reference", "--resume").wait() == 0
    other = start_slow("--framework", "reference", "--resume", "--seed", "7")
    assert other.wait() == 0
    assert len(other.runs) == 2


@pytest.mark.parametrize(("number", "prefix"), [(signal.SIGINT, ()), (signal.SIGTERM, ()),
                                                (signal.SIGTERM, BACKGROUND)])
def test_an_interrupt_stops_every_process_and_keeps_what_is_finished(start_slow: Start, number: signal.Signals,
                                                                     prefix: tuple[str, ...]) -> None:
    words = ("--framework", "reference,slow", "--windows", "200")
    command = start_slow(*words, prefix=prefix)
    command.until("slow", "window")
    command.process.send_signal(number)
    assert command.wait(10) == 130
    assert command.left() == []
    assert command.told.splitlines()[-1].startswith("dlcompare: stopped; finished jobs are kept, and --resume goes on")
    assert "Traceback" not in command.told
    assert {name: record["status"] for name, record in command.kept().items()} == {"reference": "ok"}


def test_an_interrupt_reaches_deaf_workers_in_sessions_of_their_own(start_slow: Start) -> None:
    command = start_slow("--framework", "stubborn", "--workers", "2", "--windows", "200")
    command.until("stubborn", "data", count=2)
    assert len(command.left()) >= 6  # the parent, the launcher, two workers and a child of each
    command.process.send_signal(signal.SIGINT)
    time.sleep(0.7)  # the workers have gone, what they started is deaf
    command.process.send_signal(signal.SIGINT)  # an impatient user
    assert command.wait(15) == 130
    assert command.left() == []


def test_a_killed_parent_takes_its_workers_along(start_slow: Start) -> None:
    command = start_slow("--framework", "reference,slow", "--windows", "200")
    command.until("slow", "window")
    command.process.kill()
    command.wait()
    assert command.nothing_left(within=5)
    assert "Traceback" not in command.told
    assert {name: record["status"] for name, record in command.kept().items()} == {"reference": "ok"}
    again = start_slow("--framework", "reference,slow", "--windows", "200", "--resume", SLOW_STEP="0")
    assert again.wait() == 0
    assert again.records()["reference"] == command.kept()["reference"]


def test_a_job_that_stalls_is_given_up_and_tells_who_joined(start_slow: Start) -> None:
    command = start_slow("--framework", "hung", "--workers", "2", "--timeout", "2")
    assert command.wait(30) == 1
    record = command.records()["hung"]
    assert record["status"] == "failed"
    assert "2 worker processes started, and of the ranks 0 joined" in record["reason"]
    assert "--timeout" in record["reason"]
    assert command.left() == []


def test_a_run_at_work_cannot_be_resumed_by_another_process(start_slow: Start) -> None:
    words = ("--framework", "slow", "--windows", "200")
    command = start_slow(*words)
    command.until("slow", "window")
    second = start_slow(*words, "--resume")
    assert second.wait() == 2
    assert "another process is at work in it" in second.told
    assert command.process.poll() is None


def test_whoever_reads_the_progress_may_leave(start_slow: Start, tmp_path: Path) -> None:
    pipe = ("sh", "-c", '"$@" 2>&1 >printed.json | head -n 1; exit 0', "sh")
    command = start_slow("--framework", "reference", prefix=pipe)
    assert command.wait() == 0
    assert json.loads((tmp_path / "printed.json").read_text())[0]["status"] == "ok"


def test_a_terminal_shows_paths_with_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pty.openpty()
    with os.fdopen(here, "rb", buffering=0) as shown:
        with os.fdopen(there, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            with Progress() as progress:
                progress(None, {"phase": "failed", "text": "pictures[/b]/cut.jpg"})
        assert b"failed pictures[/b]/cut.jpg" in read_to_the_end(shown)


def read_to_the_end(shown: io.FileIO) -> bytes:
    """What a closed terminal had printed: the kernel hands it over in parts, and says EIO after the last."""
    told = b""
    with contextlib.suppress(OSError):
        while part := shown.read(4096):
            told += part
    return told


@pytest.mark.parametrize("out", ["file/runs", "/proc/nowhere/runs"])
def test_an_output_folder_that_cannot_be_written_is_a_usage_error(start_slow: Start, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    command = start_slow("--framework", "reference", out=tmp_path / out)
    assert command.wait() == 2
    assert command.told.startswith(f"dlcompare: cannot write to {tmp_path / out}: ")
    assert command.told.count("\n") == 1 and "--out" in command.told


def writable_bytes(limit: int) -> tuple[str, ...]:
    """Return a prefix for a command whose processes can write no file beyond a length."""
    program = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    return (sys.executable, "-c", program + "os.execv(sys.argv[1], sys.argv[1:])")


def test_a_plan_that_cannot_be_written_is_a_usage_error_and_leaves_no_folder(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", prefix=writable_bytes(400))
    assert command.wait() == 2
    assert command.told == (f"dlcompare: cannot write to {command.out}: File too large; no file may be larger than 400 "
                            "bytes here, so raise that limit (ulimit -f), or name another folder with --out\n")
    assert list(command.out.iterdir()) == []


def test_a_record_that_cannot_be_written_is_printed_with_a_warning(start_slow: Start) -> None:
    command = start_slow("--framework", "slow", "--windows", "20")
    command.until("slow", "window")
    folder = command.job("slow")
    assert folder
    (folder / "record.json").mkdir()  # in the way
    (folder.parent / "records.json").unlink()
    (folder.parent / "records.json").mkdir()
    assert command.wait() == 1, "what is not kept is no success"
    (record,) = command.records().values()
    assert record["status"] == "ok"
    said = "cannot write {}: Is a directory"
    warning = sentence(Caveat(**record["warnings"][-1]))
    assert f"this record is not kept: {said.format(folder / 'record.json')}" in warning
    assert f"dlcompare: records {said.format(folder.parent / 'records.json')}" in command.told
    assert "Traceback" not in command.told


TMPFS = 'mkdir -p "$0" && mount -t tmpfs -o size=192k none "$0" && '
SMALL_DISK = ("unshare", "-rm", "sh", "-c", TMPFS + '{ "$@"; code=$?; cp -r "$0/." "$0.copy"; exit $code; }')


def small_disk(folder: Path) -> tuple[str, ...]:
    """Return a prefix for a command that sees a disk of 192 KiB at ``folder``, and leaves a copy behind."""
    return (*SMALL_DISK, str(folder))


def may_mount(folder: Path) -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(
        ["unshare", "-rm", "sh", "-c", TMPFS + "true", str(folder)], capture_output=True, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    if not may_mount(tmp_path / "try"):
        pytest.skip("needs a kernel that lets this user mount a tmpfs in a namespace of its own (unshare -rm)")
    return tmp_path / "disk"


def test_a_disk_that_fills_between_jobs_loses_nothing_finished(start_slow: Start, disk: Path) -> None:
    command = start_slow("--framework", "reference,glutton,slow", out=disk / "runs", prefix=small_disk(disk))
    assert command.wait() == 1
    records = command.records()
    assert [r["status"] for r in records.values()] == ["ok", "failed", "failed"]
    assert "is full; free some space" in records["glutton"]["reason"]
    assert "No space left on device" in records["slow"]["reason"]
    assert "Traceback" not in command.told
    (kept,) = Path(f"{disk}.copy").glob("runs/*/records.json")
    assert json.loads(kept.read_text())[0] == records["reference"]


def test_the_whole_run_on_a_full_disk_is_a_usage_error(start_slow: Start, disk: Path) -> None:
    fill = ("sh", "-c", 'cat /dev/zero >"$0/fat" 2>/dev/null; exec "$@"', str(disk))
    command = start_slow("--framework", "reference", out=disk / "runs", prefix=(*small_disk(disk), *fill))
    assert command.wait() == 2
    reason = f"cannot write to {disk / 'runs'}: No space left on device; make room for it, or name another folder"
    assert command.told == f"dlcompare: {reason} with --out\n"


def failed(command: Command) -> dict[str, Any]:
    """Return the only record of a run that failed with one paragraph and a log."""
    assert command.wait() == 1
    (record,) = command.records().values()
    assert record["status"] == "failed"
    assert "\n" not in record["reason"] and (command.runs[-1] / record["log"]).is_file()
    return record


def test_what_goes_wrong_inside_a_worker_is_the_reason_of_its_record(start_slow: Start) -> None:
    assert "training diverged" in failed(start_slow("--framework", "reference", "--lr", "1e200"))["reason"]


def test_memory_that_runs_out_in_a_worker_is_the_reason_of_its_record(start_slow: Start) -> None:
    words = ("--framework", "reference", "--model", "vgg19", "--image-size", "32")
    reason = failed(start_slow(*words, DLCOMPARE_MEMORY=str(500 << 20)))["reason"]
    assert reason.startswith("memory ran out (") and "smaller --batch" in reason


def test_what_was_trained_is_kept_where_asked_and_can_be_gone_on_from(start_slow: Start) -> None:
    command = start_slow("--framework", "reference", "--windows", "1", "--save", SLOW_STEP="0")
    assert command.wait() == 0
    (record,) = command.records().values()
    kept = next(command.out.rglob("params.safetensors"))
    assert record["trained_sha256"] not in (None, record["params_sha256"])
    assert "--save" in record["reproduce"].split() and "True" not in record["reproduce"]
    again = start_slow("--framework", "reference", "--windows", "1", "--weights", str(kept), SLOW_STEP="0")
    assert again.wait() == 0
    (after,) = again.records().values()
    assert after["params_sha256"] == record["trained_sha256"] and after["trained_sha256"] is None


def test_damaged_pictures_are_a_usage_error_or_left_out(start_slow: Start, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (9, 9)).save(tmp_path / "pictures" / "cat" / f"{number}.jpg")
    for name in ("cut.jpg", "torn.jpg"):
        (tmp_path / "pictures" / "cat" / name).write_bytes(b"\xff\xd8\xff\xe0 no more than a beginning")
    (tmp_path / "pictures" / "cat" / "list.txt").touch()
    words = ("--framework", "reference", "--data", f"imagefolder:{tmp_path / 'pictures'}", "--windows", "1")
    command = start_slow(*words)
    assert command.wait() == 2 and not command.out.exists()
    assert "2 samples cannot be read: cat/cut.jpg (" in command.told
    command = start_slow(*words, "--on-bad-sample", "skip", SLOW_STEP="0")
    assert command.wait() == 0
    (record,) = command.records().values()
    told = {one["kind"]: one["values"] for one in record["warnings"]}
    assert told["skipped samples"] == {"count": 2, "first": ["cat/cut.jpg", "cat/torn.jpg"]}
    assert told["passed over"] == {"files": {".txt": 1}}


def test_an_empty_class_folder_is_a_usage_error(start_slow: Start, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    command = start_slow("--framework", "reference", "--data", f"imagefolder:{tmp_path / 'pictures'}")
    assert command.wait() == 2
    assert f"class folder {tmp_path / 'pictures' / 'cat'} holds no image" in command.told
    assert not command.out.exists()


@pytest.mark.parametrize("env", [(), ("--env", "current")])
def test_a_plugin_that_cannot_be_asked_for_its_environment_is_refused_alone(start: Start, env: tuple[str, ...]) -> None:
    words = ("--framework", "unaskable,tiny-numpy", "--model", "tiny-residual", "--data", "synthetic", "--windows", "1")
    command = start(*words, *env, "--steps", "1", "--verify", "off", **offering("tiny", "unaskable"))
    assert command.wait() == 1, command.told
    found = command.records()
    assert (found["unaskable"]["status"], found["tiny-numpy"]["status"]) == ("refused", "ok")
    assert found["unaskable"]["reason"].startswith("unaskable raised KeyError: 'cpu' when asked for its environment")
