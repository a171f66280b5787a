"""Training records side by side: the table says what they hold at every width, and claims what was computed alone.

Golden files: run with UPDATE_GOLDEN=1 to write them anew, then read the difference.
"""

from typing import Any

import pytest
from fabricated import CERTIFICATE, SETTINGS, SYSTEM, comparison, failed, finished, job, ranks, refused
from golden import compare_golden, flowing

from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.kinds.training.result import TrainingRecord
from dlcompare.core.records.choices import Choices
from dlcompare.core.reports.words import sentences

FORMS = kind("training").forms
GPUS = [{"index": i, "name": "NVIDIA H200", "memory_bytes": 143771 << 20, "driver": "570.86.15", "power_limit_w": 700.0}
        for i in range(2)]


def shown(form: str, records: list[TrainingRecord]) -> str:
    return kind("training").report(Answer(records), form, None)


def table(records: list[TrainingRecord], monkeypatch: pytest.MonkeyPatch, width: int = 160) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return shown("table", records)


def on_gpus() -> list[TrainingRecord]:
    made = []
    for framework in ("pytorch-ddp", "tf-horovod"):
        for precision, workers in (("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)):
            one = job(framework, model="resnet152", precision=precision, workers=workers, device="cuda", batch=256,
                      image_size=224, threads=8)
            seconds = [2.0 + 0.01 * workers + 0.003 * (n % 3) for n in range(7)]
            results = ranks(one, seconds, steps=10 * workers,
                            settings=Choices.of(SETTINGS[framework] | {"tf32": False}))
            made.append(finished(one, results, multiply_adds=11_500_000_000, system=SYSTEM | {"accelerators": GPUS},
                                 verified=CERTIFICATE if precision == "fp32" else None, image_size=224))
    return made


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("name, make", [("comparison", comparison), ("gpus", on_gpus)])
def test_the_table_looks_as_it_was_approved(name: str, make: Any, width: int,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    compare_golden(f"report_table_{name}_{width}.txt", table(make(), monkeypatch, width))


def test_json_and_csv_look_as_they_were_approved() -> None:
    compare_golden("report_comparison.json", shown("json", comparison()))
    compare_golden("report_comparison.csv", shown("csv", comparison()))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_no_line_is_wider_than_the_terminal_but_what_must_be_copied(
        width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in table([*comparison(), *on_gpus()], monkeypatch, width).splitlines():
        assert len(line) <= width or line.startswith(("  log: ", "  dlcompare verify ")), line
        assert "…" not in line or width < 80, line


@pytest.mark.parametrize("form", FORMS)
def test_every_report_takes_no_records_and_odd_ones(form: str) -> None:
    assert shown(form, [])
    odd = failed(job(), "[red]markup[/red] :bug: and\nlines, \"quotes\"", log="/a b/[x].txt")
    assert "[red]markup[/red] :bug:" in shown(form, [odd])
    assert "/a b/[x].txt" in shown(form, [odd])


def test_unproved_numbers_are_announced_first_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = table(on_gpus(), monkeypatch).splitlines()
    assert lines[0].startswith("not verified: pytorch-ddp, tf-horovod")
    assert lines[1] == "  dlcompare verify --framework pytorch-ddp,tf-horovod --model resnet152 --precision bf16"
    assert "not verified" not in table([finished(job(), verified=CERTIFICATE)], monkeypatch)
    on_cpu = finished(job(), system=SYSTEM | {"accelerators": GPUS})
    assert table([on_cpu], monkeypatch).splitlines()[1].endswith("--model resnet50 --device cpu")


def test_what_was_certified_for_other_source_is_announced_with_its_date(monkeypatch: pytest.MonkeyPatch) -> None:
    older = CERTIFICATE | {"date": "2025-11-01T08:00:00+00:00", "passed": False}
    several = [finished(job(), verified_before=older), finished(job(workers=1), verified_before=CERTIFICATE),
               finished(job("tf-horovod"), verified_before=older), finished(job("tf-horovod", precision="bf16"))]
    first, command, other, _, *rest = table(several, monkeypatch, 250).splitlines()
    assert first == ("not verified: pytorch-ddp (certified on 2025-11-20 for other source; verify again), tf-horovod "
                     "(failed verification on 2025-11-01 for other source; verify again); to prove that they compute "
                     "the same, run")
    assert command == "  dlcompare verify --framework pytorch-ddp,tf-horovod --model resnet50"
    assert other == "not verified: tf-horovod; to prove that they compute the same, run"
    assert sum("ok, not verified" in line for line in rest) == 4


def test_a_failed_proof_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    text = table([finished(job(), verified=CERTIFICATE | {"passed": False})], monkeypatch)
    assert text.startswith("verification FAILED: pytorch-ddp") and "ok, DIFFERS" in text


def test_a_ratio_is_to_the_first_row_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    half = [2 * s for s in (2.01, 2.03, 2.02, 2.0, 2.02)]
    flow = job("tf-horovod")
    same = [refused(job("mxnet"), "no"), finished(job()), finished(flow, ranks(flow, half, slower=0.02))]
    text = table(same, monkeypatch)
    assert " 1.000 " in text and " 0.500 " in text and "the first row that ran" in text
    other = job("tf-horovod", model="alexnet")
    text = table([finished(job()), finished(other, ranks(other, half))], monkeypatch)
    assert text.count(" 1.000 ") == 2 and "same model, data and image size" in text


def test_models_are_not_held_against_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [finished(job(framework, model=model)) for model in ("resnet50", "alexnet")
            for framework in ("pytorch-ddp", "tf-horovod")]
    text = table(both, monkeypatch)
    assert "Fairness of rows 1-2 (resnet50)" in text and "Fairness of rows 3-4 (alexnet)" in text


def test_records_that_differ_in_nothing_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    text = table([finished(job()), finished(job())], monkeypatch)
    assert "no setting, version or machine property differs" in text and "Fairness of rows 1-2" in text
    assert "Fairness" not in table([finished(job())], monkeypatch)


def test_warnings_refusals_and_failures_are_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    text = flowing(table(comparison(), monkeypatch, 80))
    for made in comparison():
        log = made.log if made.status == "failed" and made.log else ""
        assert all(words in text for words in (*sentences(made.warnings), made.reason or "", log))


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in table(comparison(), monkeypatch)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in table(comparison(), monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in table(comparison(), monkeypatch)
