"""``report`` and ``compare``: what finished runs held is shown again, each kind by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fabricated import RUN, failed, finished, in_rounds, job, refused

from dlcompare.core.cli.echo import echo
from dlcompare.core.cli.main import program
from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.compilation.request import CompilationJob
from dlcompare.core.kinds.time_to_accuracy.request import TargetJob

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "2026-11-24-four-cpu"


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that gives what a command prints."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: object) -> str:
        program()([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    """Return a run folder with rounds of two frameworks."""
    records = [one for name in ("pytorch-ddp", "tf-horovod") for one in in_rounds(job(name), [1.0, 1.01, 0.99])]
    (tmp_path / "records.json").write_text(json.dumps([one.to_dict() for one in records]))
    return tmp_path


def test_a_run_in_rounds_is_reported_with_its_verdicts_and_in_json_as_records(shown, rounds: Path) -> None:
    assert "3 rounds, interleaved" in shown("report", rounds)
    assert len(json.loads(shown("report", rounds, "--format", "json"))) == 6
    assert shown("report", rounds, "--format", "csv").count("\n") == 7
    compared = json.loads(shown("compare", rounds, rounds / "records.json", "--format", "json", "--margin", "10"))
    assert [one["word"] for one in compared["comparisons"][0]["verdicts"]] == ["same"]
    assert len(compared["records"]) == 6, "a run that is named twice counts once"


def test_a_baseline_is_named_or_refused(shown, rounds: Path) -> None:
    compared = json.loads(shown("compare", rounds, "--baseline", "tf-horovod", "--format", "json"))
    assert compared["comparisons"][0]["baseline"]["name"] == "tf-horovod"
    with pytest.raises(UsageError, match="unknown baseline 'torch'"):
        shown("compare", rounds, "--baseline", "torch")


def test_kinds_stand_apart(shown, rounds: Path) -> None:
    both = shown("report", rounds, RESULTS / "target.json")
    assert "3 rounds, interleaved" in both and "1 pytorch-ddp: top1 0.9722 (target 0.97) after 18.9 s" in both
    for form in ("json", "csv"):
        with pytest.raises(UsageError, match=r"several kinds \(training, time_to_accuracy\).*one kind at a time"):
            shown("report", rounds, RESULTS / "target.json", "--format", form)


def test_a_form_that_a_kind_lacks_is_refused(shown, tmp_path: Path) -> None:
    made = refused(CompilationJob("jax", "resnet18", topology="v3:2x2"), "no such topology", run=RUN)
    (tmp_path / "records.json").write_text(f"[{made.to_json()}]")
    assert "NOT COMPILED  jax, resnet18, fp32, batch 8 a device, for v3:2x2: no such topology" in shown(
        "report", tmp_path)
    with pytest.raises(UsageError, match="printed as table or json, not as csv; use another --format"):
        shown("report", tmp_path, "--format", "csv")


def test_rounds_of_a_target_are_told_by_round(shown, tmp_path: Path) -> None:
    made = json.loads((RESULTS / "target.json").read_text())
    several = [{**one, "id": f"{one['id']}.r{number}", "round": number, "rounds": 2}
               for number in range(2) for one in made[:2]]
    (tmp_path / "records.json").write_text(json.dumps(several))
    text = shown("report", tmp_path)
    assert text.count("pytorch-ddp, round 1: top1 0.9722") == text.count("pytorch-ddp, round 2: top1 0.9722") == 1
    assert TargetJob.kind == "time_to_accuracy" and "2 rounds, interleaved" in text


def test_what_failed_of_a_target_is_told_without_a_time(shown, tmp_path: Path) -> None:
    made = refused(TargetJob("jax", "resnet18", target="top1=0.9"), "no GPU here", run=RUN)
    (tmp_path / "records.json").write_text(made.to_json())
    assert "no GPU here" in shown("report", tmp_path) and "examinations" not in shown("report", tmp_path)


def test_the_first_line_says_what_was_altered_and_what_is_not_verified(shown, tmp_path: Path) -> None:
    made = [finished(job(name)).to_dict() for name in ("pytorch-ddp", "tf-horovod")]
    made[0]["throughput"]["value"] = 900.0
    made[1]["verified"] = {"certificate": "deadbeefdeadbeef", "passed": True, "date": "2026-11-25T10:00:00+00:00",
                           "image_size": 64, "workers": 2}
    (tmp_path / "records.json").write_text(json.dumps(made))
    text = shown("report", tmp_path)
    first, second, *_ = text.splitlines()
    assert first == ("NOT AS MEASURED: pytorch-ddp resnet50: throughput.value was written as 900, and the raw values "
                     "give 23.6453; what follows is of the raw values")
    assert second == ("tf-horovod resnet50: not verified by certificate deadbeefdeadbeef: no certificate of that hash "
                      "is beside the records, kept on this machine, or in the record")
    assert "23.65" in text and "900" not in "".join(text.splitlines()[1:-12]) and text.count("ok, not verified") == 2
    for form in ("json", "csv"):
        assert "deadbeef" in shown("report", tmp_path, "--format", form), "and programs read it among the warnings"


@pytest.mark.parametrize("edit", [
    {"throughput": 3}, {"windows": [3]}, {"windows": {}}, {"system": []}, {"system": {"cpu": 3}}, {"job": []},
    {"job": {}}, {"settings": 3}, {"verified": []}, {"verified": "yes"}, {"verified_before": {"passed": 1}},
    {"warnings": [{"kind": "short"}]}, {"warnings": [{"kind": "short", "values": {"windows": "x"}}]}, {"kind": 3},
    {"kind": {}}, {"schema": None}, {"schema": 1}, {"status": "fine"}, {"framework": None}, {"model": []},
    {"loss": [{"step": "x"}]}, {"startup": {"a": "b"}}, {"image_size": 1e300}, {"global_batch": 0}, {"run": None},
])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_mistyped_fields_are_shown_or_one_error_that_names_the_file(
        shown, edit: dict[str, object], form: str, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(json.dumps([{**finished(job()).to_dict(), **edit}] * 2))
    for command in ("report", "compare"):
        try:
            shown(command, tmp_path, "--format", form)
        except UsageError as error:
            assert str(tmp_path) in str(error)


HOSTILE = "\x1b]0;owned\x07\x1b[8m\x9b31m\u202eevil[red]=cmd"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_text_of_a_file_commands_a_terminal(shown, form: str, tmp_path: Path) -> None:
    one = finished(job(), system={"cpu": {"model": HOSTILE, "usable": 2}}).to_dict()
    named = {"model": HOSTILE, "framework": HOSTILE}
    made = [{**one, **named, "job": {**one["job"], **named}, "environment": {HOSTILE: HOSTILE}},
            failed(job("jax"), f"it broke\n{HOSTILE}", log=HOSTILE).to_dict()]
    (tmp_path / "records.json").write_text(json.dumps(made))
    for command in ("report", "compare"):
        text = shown(command, tmp_path, "--format", form)
        assert "evil[red]" in text, "no markup is taken for one"
        assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_what_is_not_believed_is_said_in_the_open_whatever_names_are_made_of(
        shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    one = {**finished(job()).to_dict(), "variant": "\x1b[8m\n/x/records.json is signed by alice: Good"}
    one["throughput"]["value"] = 900.0
    (tmp_path / "records.json").write_text(json.dumps([one]))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = shown("report", tmp_path)
    assert text.startswith("NOT AS MEASURED: pytorch-ddp:") and "\x1b[1m" in text, "a table has its colours"
    assert "\x1b[8m" not in text and "\n/x/records.json is signed" not in text
    echo("dlcompare: no file \x1b[8m")
    assert "\x1b" not in capsys.readouterr().out
