"""Records for programs: JSON that reads back, and CSV whose columns are the same whatever the records hold."""

import csv
import dataclasses
import io
import json

import pytest
from fabricated import CERTIFICATE, comparison, failed, finished, in_rounds, job

from dlcompare.core.kinds.kind import kind, kinds
from dlcompare.core.kinds.training.result import TrainingRecord
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.reports import record_csv
from dlcompare.core.reports.forms import as_json
from dlcompare.core.run.stored import parse


def test_json_reads_back() -> None:
    made = [dataclasses.replace(one, verified=None) for one in comparison()]
    assert parse(as_json(made)) == made


def rows(records: list[TrainingRecord]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(record_csv.render(records))))


def test_csv_has_the_same_columns_whatever_the_records_hold() -> None:
    several = [*comparison(), *in_rounds(job(), [1.0, 1.1]), finished(job(), verified_before=CERTIFICATE),
               failed(job(), "killed")]
    assert {tuple(rows([one])[0]) for one in several} == {tuple(rows(several)[0])}
    assert "verified_before" not in rows(several)[0]


def test_csv_holds_what_the_record_holds() -> None:
    ok, shaky, refused, _ = rows(comparison())
    made = comparison()[0]
    assert made.throughput is not None
    assert float(ok["samples_per_s"]) == made.throughput.value
    assert json.loads(ok["settings"]) == made.settings.flat()
    assert (ok["verified"], shaky["verified"], ok["steps"], ok["first_loss"]) == ("True", "", "15", "6.901")
    assert (refused["samples_per_s"], refused["windows"]) == ("", "0")
    assert "throughput varies between windows" in shaky["warnings"]


NAMED = {"samples_per_s", "samples_per_s_low", "samples_per_s_high", "step_median_s", "step_p90_s", "step_p99_s",
         "windows", "windows_discarded", "disturbed", "steps", "warmup_steps", "warmup_settled", "first_loss",
         "last_loss", "verified", "certificate", "environment", "settings", "system", "warnings"}  # read by programs


def test_every_single_value_of_a_record_has_a_column() -> None:
    (row,) = rows([finished(job())])
    single = {spec.name for spec in dataclasses.fields(TrainingRecord)
              if isinstance(getattr(finished(job()), spec.name), (str, int, float))} - {"schema", "kind"}
    assert row.keys() >= single | NAMED
    assert list(row)[-1] == "reproduce", "what is long stands last"


@pytest.mark.parametrize("name", ["training", "time_to_accuracy", "compilation", "verification"])
def test_records_of_every_kind_have_columns_that_do_not_depend_on_what_they_hold(name: str) -> None:
    known = kinds()[name].job
    given = {"target": "top1=0.5"} if name == "time_to_accuracy" else {}
    made = known(framework="reference", model="resnet18", **given)
    ok, none = (kind(name).outline(made, Circumstances(), status=status, reason=None, verified=verified)
                for status, verified in (("ok", CERTIFICATE), ("failed", None)))
    assert list(rows([ok])[0]) == list(rows([none])[0])


def test_no_cell_is_a_formula() -> None:
    (row,) = rows([dataclasses.replace(finished(job()), variant="=HYPERLINK(0)", flops_per_second=-1.0)])
    assert row["variant"] == "'=HYPERLINK(0)" and row["flops_per_second"] == "-1.0"
