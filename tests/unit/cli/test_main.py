"""The command line as a user meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import SLOW, offering

TINY = ("--framework", "reference", "--model", "speck", "--batch", "2", "--windows", "2", "--steps", "1", "--verify",
        "off")


def dlcompare(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=300, check=False, env={**os.environ, **offering(*SLOW)})


def test_help_groups_the_options_and_shows_examples(tmp_path: Path) -> None:
    answer = dlcompare("--help", cwd=tmp_path)
    assert answer.returncode == 0
    for words in ("What is compared", "How it trains", "How it is measured", "Examples",
                  "dlcompare --framework tf-horovod --model resnet50", "verify"):
        assert words in answer.stdout


def test_list_and_show(tmp_path: Path) -> None:
    listed = dlcompare("list", cwd=tmp_path).stdout
    assert all(name in listed for name in ("tf-horovod", "resnet152", "bert-squad", "imagefolder"))
    shown = dlcompare("show", "resnet50", cwd=tmp_path).stdout
    assert "25,557,032" in shown and "layer4.2.conv3" in shown
    plain = json.loads(dlcompare("show", "resnet50", "--format", "json", cwd=tmp_path).stdout)
    assert plain["parameters"] == 25_557_032


@pytest.mark.parametrize(("words", "told"), [
    ((), "--framework and --model must be given"),
    (("--model", "resnet50"), "--framework must be given"),
    (("--framework", "torch-ddp", "--model", "resnet50"), "Did you mean 'pytorch-ddp'"),
    (("--framework", "reference", "--model", "resnet5"), "Did you mean 'resnet50'"),
    (("--framework", "reference", "--model", "resnet50", "--data", "digit"), "Did you mean 'digits'"),
    (("--framework", "reference", "--model", "resnet50", "--batch", "0"), "--batch"),
    (("--framework", "reference", "--model", "resnet50", "--frobnicate"), "No such option"),
    (("show", "resnet5"), "Did you mean 'resnet50'"),
    (("report", "nowhere"), "nowhere holds no records.json"),
    (("verify", "--framework", "reference", "--model", "resnet18", "--check-workers", "3"), "1, 2 or 4"),
    (("verify", "--framework", "reference", "--model", "resnet18", "--check-workers", "x"), "--check-workers"),
])
def test_usage_errors_end_with_code_2_and_one_paragraph(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    answer = dlcompare(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not list(tmp_path.iterdir()), "a usage error leaves no run folder"


def test_a_run_gives_records_that_report_shows_again(tmp_path: Path) -> None:
    answer = dlcompare(*TINY, "--format", "json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    (record,) = json.loads(answer.stdout)
    assert record["status"] == "ok" and len(record["windows"]) == 2 and record["dataset"] == "digits"
    (run,) = (tmp_path / "runs").iterdir()
    again = dlcompare("report", str(run), "--format", "json", cwd=tmp_path)
    assert json.loads(again.stdout) == [record]
    assert "speck" in dlcompare("report", str(run), "--format", "csv", cwd=tmp_path).stdout
    drawn = dlcompare("report", str(run), "--plot", "a.png", cwd=tmp_path)
    assert drawn.returncode == 1 and "speck" in drawn.stdout and "nothing was swept" in drawn.stderr


def test_a_refused_job_is_a_record_and_exit_code_1(tmp_path: Path) -> None:
    answer = dlcompare(*TINY, "--workers", "2", "--format", "json", cwd=tmp_path)
    (record,) = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert record["status"] == "refused" and "one process" in record["reason"]


def test_a_sweep_that_cannot_be_drawn_is_shown_all_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    answer = dlcompare(*TINY, "--precision", "bf16,fp16", "--plot", "a.png", cwd=tmp_path)
    assert answer.returncode == 1 and "no cell of the sweep has a number" in answer.stderr
    assert answer.stdout.count("offers fp32") == 2, "why each cell was refused"


@pytest.mark.slow
def test_verify_passes_the_oracle_itself_and_leaves_a_certificate(tmp_path: Path) -> None:
    answer = dlcompare("verify", "--framework", "reference", "--model", "bert-tiny", "--check-workers", "1",
                       "--format", "json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    (outcome,) = json.loads(answer.stdout)
    assert outcome["passed"] and not outcome["failed"]
    assert json.loads((tmp_path / outcome["certificate"]).read_text())["passed"]
