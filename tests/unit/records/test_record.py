"""Records fit the schema that is made of their class, survive JSON, and name what is wrong with what is no record."""

import dataclasses
import json
import math
import shlex
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from fabricated import CERTIFICATE, STARTED, comparison, failed, finished, job, ranks, refused, sha

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import kinds
from dlcompare.core.kinds.training.result import LossPoint, RankResult, TrainingRecord
from dlcompare.core.records.choices import Choices
from dlcompare.core.typed_json import from_plain, json_schema, to_plain

SCHEMA = json_schema(TrainingRecord)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def every_outcome() -> list[TrainingRecord]:
    diverged = [dataclasses.replace(r, losses=(*r.losses[:-1], LossPoint(17, math.nan))) for r in ranks(job())]
    disagreeing = ranks(job())
    disagreeing[1] = dataclasses.replace(disagreeing[1], params_sha256=sha("other"))
    return [*comparison(), finished(job(), diverged), finished(job(), disagreeing), finished(job(), peak=1e9),
            finished(job(workers=1, device="cuda"), ranks(job(workers=1), [2.0], warmup=(), peak_bytes=7 << 30)),
            finished(job(), dataset="imagefolder:/data/imagenet", image_size=224), refused(job(), "no"),
            finished(job(), verified_before=CERTIFICATE), failed(job(), "it broke")]


@pytest.mark.parametrize("made", every_outcome(), ids=lambda r: f"{r.framework}-{r.status}")
def test_every_record_fits_the_schema_and_survives_json(made: TrainingRecord) -> None:
    VALIDATOR.validate(json.loads(made.to_json()))
    assert TrainingRecord.from_json(made.to_json()) == made


@pytest.mark.parametrize("name", kinds())
def test_every_kinds_schema_is_one_and_names_exactly_the_fields(name: str) -> None:
    record = kinds()[name].record
    schema = json_schema(record)
    jsonschema.Draft202012Validator.check_schema(schema)
    fields = [spec.name for spec in dataclasses.fields(record)]
    assert list(schema["properties"]) == schema["required"] == fields
    assert schema["additionalProperties"] is False


def test_a_record_of_an_earlier_version_lacks_what_was_certified_before() -> None:
    old = finished(job()).to_dict()
    del old["verified_before"]
    assert TrainingRecord.from_dict(old).verified_before is None


@pytest.mark.parametrize("change", [
    {"throughput": None}, {"status": "fine"}, {"started": "yesterday"}, {"params_sha256": "abc"}, {"schema": 1},
    {"reason": "but it is ok"}, {"windows": []}, {"surplus": 1}, {"device": "toaster"}, {"workers": 0},
    {"throughput": {"value": 1, "unit": "images/s", "low": None, "high": None}}, {"loss": [{"step": 0}]},
])
def test_the_schema_can_fail(change: dict[str, Any]) -> None:
    good = finished(job()).to_dict()
    VALIDATOR.validate(good)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(good | change)


def test_json_never_holds_nan() -> None:
    made = dataclasses.replace(finished(job()), flops_per_second=math.nan,
                               settings=Choices(own={"deep": [(1.0, -math.inf)]}))
    data = json.loads(made.to_json(), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert data["flops_per_second"] is None and data["settings"]["own"] == {"deep": [[1.0, None]]}


@pytest.mark.parametrize("cls", [TrainingRecord, RankResult])
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(cls: Any) -> None:
    made = finished(job()) if cls is TrainingRecord else ranks(job())[0]
    with pytest.raises(UsageError, match=r"record key 'windws'|rank result key 'windws'") as caught:
        from_plain(cls, {**to_plain(made), "windws": []}, what="record" if cls is TrainingRecord else "rank result")
    assert all(word in str(caught.value) for word in ("there is: ", "settings", "Did you mean 'windows'?"))


def test_a_missing_key_and_another_schema_are_errors() -> None:
    data = finished(job()).to_dict()
    with pytest.raises(UsageError, match="a record must have framework; this one does not"):
        TrainingRecord.from_dict({k: v for k, v in data.items() if k != "framework"})
    with pytest.raises(UsageError, match="schema 3, but this dlcompare reads schema 1, 2"):
        TrainingRecord.from_dict(data | {"schema": 3})


def test_refused_and_failed_say_why() -> None:
    no = refused(job(), "no GPU here", run="r1")
    assert (no.status, no.reason, no.run, no.log, no.throughput) == ("refused", "no GPU here", "r1", None, None)
    broke = failed(job(), "killed", log="runs/x/log.txt", started=STARTED, duration=3.5)
    assert (broke.status, broke.reason, broke.log, broke.duration_s) == ("failed", "killed", "runs/x/log.txt", 3.5)
    assert broke.job == json.loads(job().to_json())


def test_the_shell_line_names_every_choice_that_another_machine_might_make_otherwise() -> None:
    words = shlex.split(job(data="imagefolder:/my data", schedule="warmup:5", port=29500).reproduce())
    assert words[0] == "dlcompare" and len(words) % 2 == 1
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert given == {"--framework": "pytorch-ddp", "--model": "resnet50", "--data": "imagefolder:/my data",
                     "--device": "cpu", "--precision": "fp32", "--workers": "2", "--batch": "8", "--image-size": "64",
                     "--windows": "5", "--seed": "0", "--lr": "0.01", "--threads": "1", "--schedule": "warmup:5"}


def test_reading_records_loads_neither_numpy_nor_a_framework() -> None:
    code = ("import sys, dlcompare.core.kinds.training.folding, dlcompare.core.machine.system, "
            "dlcompare.core.run.stored as stored; stored.kind('training').record; "
            "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "rich", "psutil", "torch", "tensorflow"} & set(done.stdout.split())


@pytest.mark.parametrize("text", ["[]", "null", "7"])
def test_what_is_no_object_is_no_record(text: str) -> None:
    with pytest.raises(UsageError, match="a record must be an object, and this is"):
        TrainingRecord.from_json(text)
