"""Rank results fold into records that the schema describes; ranks that do not belong together are told apart."""

import dataclasses
import json
import math
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from fabricated import CERTIFICATE, STARTED, comparison, finished, job, ranks, sha

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.training import result
from dlcompare.core.records import record
from dlcompare.core.records.record import RankResult, Record

SCHEMA = record.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def replace(result: RankResult, **changes: Any) -> RankResult:
    return dataclasses.replace(result, **changes)


def window(result: RankResult, number: int, **changes: Any) -> RankResult:
    windows = [w | changes if i == number else w for i, w in enumerate(result.windows)]
    return replace(result, windows=windows)


def every_kind() -> list[Record]:
    diverged = [replace(r, losses=[*r.losses[:-1], {"step": 17, "loss": math.nan}]) for r in ranks(job())]
    disagreeing = ranks(job())
    disagreeing[1] = replace(disagreeing[1], params_sha256=sha("other"))
    return [*comparison(), finished(job(), diverged), finished(job(), disagreeing), finished(job(), peak=1e9),
            finished(job(workers=1, device="cuda"), ranks(job(workers=1), [2.0], warmup=(), peak_bytes=7 << 30)),
            finished(job(), dataset="imagefolder:/data/imagenet", image_size=224), record.refused(job(), "no"),
            finished(job(), verified_before=CERTIFICATE), record.failed(job(), "it broke")]


@pytest.mark.parametrize("made", every_kind(), ids=lambda r: f"{r.framework}-{r.status}")
def test_every_record_fits_the_schema_and_survives_json(made: Record) -> None:
    VALIDATOR.validate(json.loads(made.to_json()))
    assert Record.from_json(made.to_json()) == made


def test_the_schema_is_one_and_names_exactly_the_fields() -> None:
    VALIDATOR.check_schema(SCHEMA)
    fields = [spec.name for spec in dataclasses.fields(Record)]
    assert list(SCHEMA["properties"]) == fields
    assert SCHEMA["required"] == [name for name in fields if name != "verified_before"], "which earlier records lack"
    assert SCHEMA["additionalProperties"] is False


def test_a_record_of_an_earlier_version_lacks_what_was_certified_before() -> None:
    old = finished(job()).to_dict()
    del old["verified_before"]
    VALIDATOR.validate(old)
    assert Record.from_dict(old).verified_before is None


@pytest.mark.parametrize("change", [
    {"throughput": None}, {"status": "fine"}, {"started": "yesterday"}, {"params_sha256": "abc"}, {"schema": 2},
    {"reason": "but it is ok"}, {"windows": []}, {"surplus": 1}, {"device": "toaster"}, {"workers": 0},
    {"throughput": {"value": 1, "unit": "images/s", "low": None, "high": None}}, {"loss": [{"step": 0}]},
])
def test_the_schema_can_fail(change: dict[str, Any]) -> None:
    good = finished(job()).to_dict()
    VALIDATOR.validate(good)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(good | change)


def test_throughput_is_all_samples_over_the_slowest_ranks_time() -> None:
    seconds = [2.0, 2.5, 2.2, 2.1, 2.4]
    made = finished(job(), ranks(job(), seconds, steps=3, slower=0.5))
    rates = [2 * 8 * 3 / (own + 0.5) for own in seconds]
    assert result.throughputs(made.windows) == pytest.approx(rates)
    assert made.throughput is not None and made.step_time is not None
    assert made.throughput["value"] == pytest.approx(statistics.median(rates))
    assert min(rates) <= made.throughput["low"] <= made.throughput["value"] <= made.throughput["high"] <= max(rates)
    assert made.step_time["median"] == pytest.approx(2.7 / 3)
    assert made.step_time["n"] == 5
    assert made.flops_per_second == pytest.approx(made.throughput["value"] * 341e6 * 6)


def test_step_time_weighs_each_window_by_its_steps() -> None:
    results = [window(r, 0, steps=30) for r in ranks(job(), [3.0, 0.9, 0.8], steps=1, slower=0.0)]
    made = finished(job(), results)
    assert made.step_time is not None
    assert made.step_time["median"] == made.step_time["p90"] == pytest.approx(3.0 / 30)
    assert made.step_time["p99"] == pytest.approx(0.8 + 0.69 * 0.1)  # 99 % of the way through 32 steps


def test_ranks_of_unequal_share_are_summed_and_weighted() -> None:
    first, second = ranks(job())
    made = finished(job(), [first, replace(second, samples_per_step=24)])
    assert made.windows[0]["samples"] == 3 * (8 + 24)
    assert made.loss[0]["loss"] == pytest.approx((8 * 6.9 + 24 * 6.902) / 32)
    assert finished(job()).loss[0]["loss"] == pytest.approx(6.901)


def test_a_window_begins_with_the_first_rank_and_waits_with_the_one_that_waited_longest() -> None:
    first, second = ranks(job())
    made = finished(job(), [window(first, 1, feed_seconds=0.03), window(second, 1, started=STARTED)])
    assert (made.windows[1]["started"], made.windows[1]["feed_seconds"]) == (STARTED, 0.03)


def test_what_is_folded_from_all_ranks() -> None:
    made = finished(job(), ranks(job())[::-1], verified=CERTIFICATE)
    assert made.rss_bytes == 1_503_238_554 and made.peak_bytes is None
    assert made.startup == {"parameters": 0.41, "import_and_build": 3.9, "first_step": 4.1}
    assert made.first_batch_sha256 == sha(sha("batch 0") + sha("batch 1"))
    assert made.discarded == ["3 warm-up steps, 5.50 s"]
    assert made.warmup is not None and made.warmup["settled"] and len(made.warmup["series"]) == 3
    assert [item["step"] for item in made.loss] == [0, 1, 2, 5, 8, 11, 14, 17]
    assert (made.started, made.global_batch, made.status) == ("2025-11-21T08:00:00+00:00", 16, "ok")
    assert made.warnings == []


def test_one_window_has_no_interval_and_a_warning() -> None:
    made = finished(job(), ranks(job(), [2.0]))
    assert made.throughput is not None and made.throughput["low"] is None and made.throughput["high"] is None
    assert any("short measurement: 1 window" in sentence for sentence in made.warnings)


@pytest.mark.parametrize("given, words", [
    ({"seconds": [2, 3, 2, 3, 2.0]}, "varies between windows"),
    ({"seconds": [2, 2.1, 2.2, 2.3, 2.4]}, "one way"),
    ({"feed": 0.5}, "input was too slow"),
    ({"warmup_settled": False}, "had not settled after 3 warm-up steps"),
    ({"first_batch_sha256": sha("one")}, "the same first batch"),
])
def test_doubts_are_written_into_the_record(given: dict[str, Any], words: str) -> None:
    made = finished(job(), ranks(job(), **given))
    assert made.status == "ok"
    assert any(words in sentence for sentence in made.warnings), made.warnings


@pytest.mark.parametrize("change, words", [
    (lambda r: replace(r, world=1), "rank 1 trained in a group of 1, not of 2"),
    (lambda r: replace(r, params_sha256=sha("other")), "disagree on params_sha256"),
    (lambda r: replace(r, sample_order_sha256=sha("other")), "disagree on sample_order_sha256"),
    (lambda r: replace(r, settings=r.settings | {"tf32": True}), "settings 'tf32': False on rank 0, True on rank 1"),
    (lambda r: replace(r, settings=r.settings | {"new": 1}), "settings 'new': None on rank 0, 1 on rank 1"),
    (lambda r: replace(r, versions=r.versions | {"torch": "2.0"}), "versions 'torch': '2.13.0' on rank 0, '2.0'"),
    (lambda r: replace(r, windows=r.windows[:-1]), "disagree on windows"),
    (lambda r: replace(r, losses=r.losses[1:]), "disagree on losses"),
    (lambda r: window(r, 2, seconds=0.0), "window 2 took [2.02, 0.0] s"),
    (lambda r: window(r, 2, seconds=None), "the clock is broken"),
    (lambda r: window(r, 3, seconds=9.0), "window 3: rank 0 heard that the ranks took [2.0, 2.01] s, but they wrote"),
    (lambda r: window(r, 1, peers=[2.03]), "window 1: rank 1 heard"),
])
def test_ranks_that_do_not_belong_together_make_a_failed_record(
        change: Callable[[RankResult], RankResult], words: str) -> None:
    first, second = ranks(job())
    made = finished(job(), [first, change(second)])
    assert made.status == "failed" and made.reason is not None
    assert words in made.reason
    assert made.throughput is None and made.windows == []


def test_no_window_is_a_failure() -> None:
    assert finished(job(), ranks(job(), [])).reason == "no window was measured"


def test_times_that_an_all_reduce_rounded_to_float32_agree() -> None:
    first, second = ranks(job())
    assert finished(job(), [window(first, 0, peers=[2.0100002, 2.0199997]), second]).status == "ok"


@pytest.mark.parametrize("chosen", [[0], [1], [0, 0], [0, 1, 1], []])
def test_a_missing_rank_is_an_error_that_counts(chosen: list[int]) -> None:
    both = ranks(job())
    with pytest.raises(ValueError, match=r"2 processes write \[0, 1\]"):
        finished(job(), [both[rank] for rank in chosen])


def test_a_loss_that_is_not_finite_fails_the_job_but_keeps_what_was_seen() -> None:
    text = [replace(r, losses=[*r.losses[:-1], {"step": 17, "loss": math.inf}]).to_json() for r in ranks(job())]
    made = finished(job(), [RankResult.from_json(one) for one in text])
    assert made.status == "failed" and made.reason is not None and "not finite at step 17" in made.reason
    assert made.loss[-1] == {"step": 17, "loss": None} and len(made.windows) == 5 and made.throughput is None


def test_nothing_is_faster_than_physics() -> None:
    flops = finished(job()).flops_per_second
    assert flops is not None
    assert finished(job(), peak=flops * 1.01).status == "ok"
    made = finished(job(), peak=flops * 0.99)
    assert made.status == "failed" and made.reason is not None and "above the device's peak" in made.reason
    assert result.physics_warning(2e12, None) is None


def test_json_never_holds_nan() -> None:
    made = dataclasses.replace(finished(job()), flops_per_second=math.nan, settings={"deep": [(1.0, -math.inf)]})
    data = json.loads(made.to_json(), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert data["flops_per_second"] is None and data["settings"] == {"deep": [[1.0, None]]}


@pytest.mark.parametrize("kind, text", [
    (Record, finished(job()).to_json()), (RankResult, ranks(job())[0].to_json()),
])
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(kind: Any, text: str) -> None:
    with pytest.raises(UsageError, match=r"windws.*there is: .*settings.*Did you mean 'windows'\?"):
        kind.from_json(json.dumps(json.loads(text) | {"windws": []}))


def test_a_missing_key_and_another_schema_are_errors() -> None:
    data = finished(job()).to_dict()
    with pytest.raises(UsageError, match="a record must have model"):
        Record.from_dict({k: v for k, v in data.items() if k != "model"})
    with pytest.raises(UsageError, match="schema 2, but this dlcompare reads schema 1"):
        Record.from_dict(data | {"schema": 2})


def test_parse_reads_one_or_many_and_says_what_is_no_record() -> None:
    made = comparison()
    assert record.parse(json.dumps([r.to_dict() for r in made])) == made
    assert record.parse(made[0].to_json()) == made[:1]
    for text in ('[{"id"', "[1]", "3"):
        with pytest.raises(UsageError, match="not a file of records"):
            record.parse(text)


def test_refused_and_failed_say_why() -> None:
    no = record.refused(job(), "no GPU here", run="r1")
    assert (no.status, no.reason, no.run, no.log, no.throughput) == ("refused", "no GPU here", "r1", None, None)
    broke = record.failed(job(), "killed", log="runs/x/log.txt", started=STARTED, duration=3.5)
    assert (broke.status, broke.reason, broke.log, broke.duration_s) == ("failed", "killed", "runs/x/log.txt", 3.5)
    assert broke.job == json.loads(job().to_json())


def test_the_shell_line_names_every_choice_that_another_machine_might_make_otherwise() -> None:
    words = shlex.split(record.reproduce(job(data="imagefolder:/my data", schedule="warmup:5", port=29500)))
    assert words[0] == "dlcompare" and len(words) % 2 == 1
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert given == {"--framework": "pytorch-ddp", "--model": "resnet50", "--data": "imagefolder:/my data",
                     "--device": "cpu", "--precision": "fp32", "--workers": "2", "--batch": "8", "--image-size": "64",
                     "--windows": "5", "--seed": "0", "--lr": "0.01", "--threads": "1", "--schedule": "warmup:5"}


def test_reading_records_loads_neither_numpy_nor_a_framework() -> None:
    code = ("import sys, dlcompare.core.kinds.training.result, dlcompare.core.machine.system, dlcompare.core.reports; "
            "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "rich", "psutil", "torch", "tensorflow"} & set(done.stdout.split())
