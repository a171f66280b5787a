"""Published tables are all read, keep what their sources say, and stand beside rows of ours that they are like."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner
from fabricated import finished, job

from dlcompare.core.cli.main import program
from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.published import tables
from dlcompare.core.published.figures import figures, like, throughputs
from dlcompare.core.published.report import beside, render, render_table


def test_every_file_is_listed_with_its_source_and_has_rows() -> None:
    files = {file.stem for file in (tables.HERE / "printed").glob("*.csv")}
    assert files == set(tables.names()) and len(files) == 12
    assert all(tables.table(name).rows and tables.table(name).source.title for name in files)
    assert tables.table("xu2018_table3_int8_accuracy").cited == "Xu et al. 2018, Table III"


def test_names_of_the_sources_are_ours() -> None:
    assert {tables.here("model", "inception-v3"), tables.here("model", "resnet-50")} == {"inception_v3", "resnet50"}
    printed = {one.printed for one in figures()}
    assert printed <= {row["published"] for row in tables.known("accelerator")}, "and each has a precision"
    peaks = {tables.here("accelerator", row["accelerator"])
             for row in tables.table("wang2020_table3_accelerators").rows}
    assert {one.accelerator for one in figures()} <= peaks, "one accelerator has one name whatever the table"


def test_what_is_no_number_is_none_and_keeps_its_word() -> None:
    (one,) = [f for f in figures() if (f.metric, f.printed, f.model, f.batch) == (
        "throughput", "Titan X", "inception_v3", 128)]
    assert (one.value, one.said) == (None, "OOM")
    assert 128 not in throughputs("TITAN X (Pascal)", "inception_v3")


def test_throughputs_of_an_accelerator_are_found() -> None:
    assert throughputs("TPU v3-8", "resnet50") == {64: 1280.0, 128: 1882.35}
    assert throughputs("TPU v2-8", "inception_v3") == {64: 800.0, 128: 914.29}
    assert throughputs("TPU v3-8", "no such model") == {}


def test_figures_of_the_same_precision_are_preferred() -> None:
    assert {one.printed for one in like("resnet50", batch=128, image_size=224, arithmetic="fp16")} == {"V100(MP)"}
    everything = like("resnet50", batch=128, image_size=224, arithmetic="tf32")
    assert {"V100", "V100(MP)", "TPU V3"} <= {one.printed for one in everything}
    assert not like("resnet50", batch=128, image_size=64, arithmetic="fp32")
    assert not like("resnet50", batch=100, image_size=224, arithmetic="fp32")


@pytest.mark.parametrize(("settings", "there"), [
    ({"batch": 128, "image_size": 224}, True), ({"batch": 128, "image_size": None}, True),
    ({"batch": 128, "image_size": 64}, False), ({"batch": 128, "image_size": 224, "workers": 2}, False)])
def test_a_row_has_what_is_published_of_the_same_model_batch_and_images(settings: dict[str, int], there: bool) -> None:
    record = finished(job(**{"workers": 1, **settings}))
    told = [str(text) for text in beside([record, record])]
    assert len(told) == there
    shown = " ".join(kind("training").report(Answer([record]), "table", None).split())
    words = "on other machines: V100 334.58 (fp32), P100 207.61 (fp32)"
    assert (words in shown) == there and ("(Wang et al. 2020, Table 8)" in shown) == there
    assert "published" not in kind("training").report(Answer([record]), "csv", None)


def test_forms_hold_the_same() -> None:
    rows, plain = list(csv.DictReader(io.StringIO(render("resnet50", "V100", "csv")))), json.loads(
        render("resnet50", "V100", "json"))
    assert len(rows) == len(plain) == 6 and [row["said"] for row in rows] == [one["said"] for one in plain]
    assert "334.58" in render("resnet-50", "tesla v100", "table")
    assert json.loads(render_table("wang2020_table4_operators", "json"))["rows"][0]["shape"] == "N=2048"


@pytest.mark.parametrize(("words", "said"), [
    (("--model", "resnet51"), "Did you mean 'resnet50'"), (("--accelerator", "V1000"), "Did you mean 'V100'"),
    (("--table", "wang"), "unknown published table 'wang'; there is:"),
    (("--table", "ren2019_findings", "--model", "resnet50"), "prints a whole table")])
def test_what_is_not_there_is_told(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as told:
        program()(["published", *words], standalone_mode=False)
    assert said in str(told.value)


def test_the_command_prints_every_table() -> None:
    for name in tables.names():
        done = CliRunner().invoke(program(), ["published", "--table", name])
        assert done.exit_code == 0 and tables.table(name).source.title.split()[0] in done.output
