"""Records of finished runs, of this version and of earlier ones, are read again as what they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
from fabricated import comparison, finished, job

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import AS_USUAL
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.reports.proof import distrust
from dlcompare.core.run.stored import by_kind, parse, read
from dlcompare.core.typed_json import json_schema

RESULTS = Path(__file__).parents[3] / "docs" / "results"
PUBLISHED = {  # whatever of the published results holds records: of which kind, and how many
    "2026-11-21-resnet50-cpu/records.json": ("training", 2),
    "2026-11-24-four-cpu/verdict.json": ("training", 24),
    "2026-11-24-four-cpu/explain.json": ("training", 30),
    "2026-11-24-four-cpu/target.json": ("time_to_accuracy", 4),
    "2026-11-25-minilm-int8/records-mse.json": ("inference", 6),
    "2026-11-25-minilm-int8/records.json": ("inference", 6),
    "2026-11-25-mobilenetv3-int8/records.json": ("inference", 4),
    "2026-11-25-resnet50-cpu/records.json": ("training", 2),
    "2026-11-30-comm-cpu/all_reduce.json": ("comm", 4),
    "2026-11-30-io-cpu/forms.json": ("io", 7),
    "2026-11-30-io-cpu/loaders.json": ("io", 5),
    "2026-11-30-io-cpu/training.json": ("io", 6),
    "2026-11-30-ops/resnet18-32.json": ("ops", 2),
    "2026-12-01-comm-cpu/records.json": ("comm", 16),
    "2026-12-01-machine-cpu/records.json": ("machine", 14),
    "2026-12-01-sweep-cpu/records.json": ("training", 36),
}


def test_parse_reads_one_or_many_and_says_what_is_no_record() -> None:
    made = [dataclasses.replace(one, verified=None) for one in comparison()]
    assert parse(json.dumps([r.to_dict() for r in made])) == made
    assert parse(json.dumps({"schema": 1, "comparisons": [], "records": [r.to_dict() for r in made]})) == made
    assert parse(made[0].to_json()) == made[:1]
    for text in ('[{"id"', "[1]", "3", "[]", '{"records": []}'):
        with pytest.raises(UsageError, match="not a file of records"):
            parse(text)


def test_a_folder_or_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no records.json; give a run folder"):
        read(tmp_path)
    (tmp_path / "records.json").write_text(json.dumps([finished(job()).to_dict()]))
    assert read(tmp_path) == read(tmp_path / "records.json") == [finished(job())]


def test_a_kind_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"unknown kind of measurement 'trianing'; .* you mean 'training'"):
        parse(json.dumps([{**finished(job()).to_dict(), "kind": "trianing"}]))


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_records_are_read_shown_and_judged(file: str) -> None:
    records = read(RESULTS / file)
    name, count = PUBLISHED[file]
    assert {one: len(found) for one, found in by_kind(records).items()} == {name: count}
    assert not list(distrust(records)) and all(one.schema == 2 for one in records)
    assert all(one.reason or any(getattr(one, held, None) for held in ("accuracy", "sizes", "measured", "throughput"))
               for one in records)
    for judging in (None, AS_USUAL):
        for form in ("table", "json", "csv"):
            assert kind(name).report(Answer(records), form, judging)


@pytest.mark.parametrize("file", PUBLISHED)
def test_what_was_of_schema_1_is_written_as_schema_2_and_read_again(file: str) -> None:
    records = read(RESULTS / file)
    validator = jsonschema.Draft202012Validator(json_schema(type(records[0])))
    for one in records:
        validator.validate(json.loads(one.to_json()))
        assert type(one).from_json(one.to_json()).to_dict() == one.to_dict()
        assert kind(one.kind).job.from_plain(one.job), "and its job is one of today"


def test_no_published_record_is_missed() -> None:
    held = {str(file.relative_to(RESULTS)) for file in RESULTS.rglob("*.json") if '"global_batch"' in file.read_text()}
    assert held == PUBLISHED.keys()


def test_what_a_job_says_counts_whatever_else_it_holds() -> None:
    made = {**finished(job()).to_dict(), "precision": "bf16"}
    (found,) = parse(json.dumps({**made, "job": {**made["job"], "colour": "red"}}))
    assert found.precision == "fp32"
    text = json.dumps({**made, "job": {**made["job"], "workers": "x"}})
    for _ in range(2):
        (found,) = parse(text)
        (line,) = distrust([found])
        assert "its job cannot be read" in line and "job workers must be of type int" in line
        text = found.to_json()


def test_what_int8_lost_follows_from_the_samples_lost_and_won() -> None:
    made = json.loads((RESULTS / "2026-11-25-minilm-int8" / "records.json").read_text())
    (one, *_) = [one for one in made if (one["accuracy"] or {}).get("against_fp32")]
    one["accuracy"]["against_fp32"]["difference"].update(value=0.1, low=0.05)
    (found,) = parse(json.dumps(one))
    assert {said.values["field"]: said.values["recomputed"] for said in found.warnings if said.kind == "altered"} == {
        "accuracy.against_fp32.difference.value": pytest.approx(-5 / 448),
        "accuracy.against_fp32.difference.low": pytest.approx(-0.0248460218)}
