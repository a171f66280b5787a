"""What people and programs read of an inference run: statistics, tables, warnings, CSV, the exit code."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from speed_rows import INT8, cell, window

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.records.energy import Spent
from dlcompare.core.run.stored import read
from dlcompare.core.typed_json import to_plain
from dlcompare.inference.cell.files import OLD
from dlcompare.inference.results.data import as_csv, as_json
from dlcompare.inference.results.rows import read_old, records_of, summaries, summary
from dlcompare.inference.results.summary import Results, speeds
from dlcompare.inference.results.tables import render

Json = dict[str, Any]
PAIRED = {"value": -0.0011, "low": -0.003, "high": 0.0008, "n": 5000, "lost": 9, "won": 3}


def accuracy(precision: str, *, verdict: str = "pass") -> Json:
    row: Json = {"engine": "onnxruntime", "precision": precision, "status": "ok", "reason": None, "metric": "top-1",
                 "samples": 5000, "right": 0.81, "top5": 0.97,
                 "ran": {"precision": precision, "layers": 21, "left": []}}
    floor = {"floor": 0.99, "verdict": verdict, "margin": 0.0, "low": 0.0, "high": 0.0}
    against = {"difference": PAIRED, "top5": PAIRED, "agreement": 0.98, "sqnr_db": 31.5, "worst": [], "floor": floor}
    return row | ({"against_fp32": against, "ran": INT8} if precision == "int8" else {})


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no cell wrap."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def results() -> Results:
    plan = {"engines": ["onnxruntime"], "precisions": ["fp32", "int8"], "batches": [8], "threads": 2, "device": "cpu"}
    network = {"name": "resnet50", "task": "classification", "image_size": 224, "origin": "weights.pth",
               "trained": True, "params_sha256": None, "outputs": ["logits"]}
    made = {"rule": "entropy", "samples": list(range(1250)), "split": "train", "data": "imagefolder:x",
            "equalised": False, "most_sensitive": {"layer1.0.relu1": 0.3}}
    cells = [cell("fp32", [window(100), window(102), window(98)]),
             cell("int8", [window(300), window(310), window(290)])]
    return Results(run="r", started="2026-01-01T00:00:00+00:00", data="imagefolder:x", network=network, plan=plan,
                   system={"cpu": {"usable": 2}}, calibration=made, cells=cells,
                   accuracy=[accuracy("fp32"), accuracy("int8")])


def test_throughput_is_the_median_of_windows_and_latency_that_of_single_runs(results: Results) -> None:
    fp32, int8 = speeds(results)
    assert (fp32.throughput, int8.throughput) == (pytest.approx(100), pytest.approx(300))
    assert fp32.low is not None and fp32.low < 100 and fp32.windows == 3 and not fp32.left_out
    assert fp32.p50 == 0.01 and fp32.p99 > 0.02


def test_disturbed_windows_are_left_out_unless_most_are(results: Results) -> None:
    busy = cell("fp32", [window(10, foreign=1.0), window(100), window(101)])
    (one,) = speeds(dataclasses.replace(results, cells=[busy]))
    assert one.left_out == 1 and one.throughput == pytest.approx(100.5) and not one.disturbed
    (one,) = speeds(dataclasses.replace(results, cells=[cell("fp32", [window(10, foreign=1.0)] * 2 + [window(100)])]))
    assert one.disturbed and one.windows == 3


def test_energy_is_per_sample_and_only_of_windows_that_counters_can_tell(results: Results) -> None:
    cells = [cell("fp32", [{**window(rate), "joules": {"cpu package-0": joules}}
                           for rate, joules in ((100, 16.0), (1000, 90.0), (1000, 91.0))])]
    metered = dataclasses.replace(results, cells=cells)
    (one,) = speeds(metered)
    assert {spent.scope: spent.per_sample for spent in one.energy} == {"cpu package-0": pytest.approx(16 / 80)}
    assert "cpu package-0" in render(metered).partition("Energy")[2]
    (row, _) = csv.DictReader(io.StringIO(as_csv([metered])))
    assert float(row["joules_per_sample"]) == pytest.approx(0.2)
    assert "Energy" not in render(results) and not speeds(results)[0].energy


def test_energy_that_records_tell_is_that_of_all_rounds(results: Results) -> None:
    told = [[to_plain(Spent("gpu 0", joules, None, None, "counter", 300.0, 5, devices=1))]
            for joules in (1.0, 2.0, 4.0)]
    cells = [{**cell("fp32", [window(100)], number=number), "energy": spent} for number, spent in enumerate(told)]
    metered = dataclasses.replace(results, cells=cells)
    (one,) = speeds(metered)
    assert [spent.per_sample for spent in one.energy] == [2.0]
    (row, _) = csv.DictReader(io.StringIO(as_csv([metered])))
    assert (row["joules_per_sample"], row["watts"]) == ("2.0", "300.0")


def test_rounds_of_a_cell_are_one_speed(results: Results) -> None:
    cells = [cell("fp32", [window(100)]), cell("fp32", [window(200)], number=1)]
    (one,) = speeds(dataclasses.replace(results, cells=cells))
    assert one.windows == 2 and one.throughput == pytest.approx(150)


def test_the_table_shows_measured_beside_published_and_names_what_stayed(results: Results) -> None:
    text = " ".join(render(results).split())
    for words in ("81.00 %", "-0.11 [-0.30, +0.08]", "31.5 dB", "pass (of 0.99)", "1 of 21 layers not",
                  "not in int8: fc", "3.00", "top-1 72.90 % in FP32, 72.84 % in INT8",
                  "entropy over 1250 samples of the train split"):
        assert words in text, words
    assert "only" not in text


def test_a_cold_start_counts_the_build_that_was_kept(results: Results) -> None:
    text = render(results)
    assert "onnxruntime int8: 0.87 (import 0.50, build 0.25, open 0.10, first run 0.02), batch 8" in text
    assert text.index("onnxruntime fp32: 0.87") < text.index("onnxruntime int8: 0.87")


def test_what_wastes_the_gain_is_said(results: Results) -> None:
    slow = dataclasses.replace(results, cells=[cell("fp32", [window(100)]), cell("int8", [window(120)])])
    assert "batch 8 is only 1.20 times its FP32" in " ".join(render(slow).split())


def test_no_gain_is_blamed_on_a_busy_machine(results: Results) -> None:
    cells = [cell("fp32", [window(100)]), cell("int8", [window(120, foreign=1.5)])]
    text = " ".join(render(dataclasses.replace(results, cells=cells)).split())
    assert "speeds mean little: onnxruntime int8, batch 8, 2 threads" in text and "only 1.20" not in text


def test_a_floor_that_is_not_surely_held_names_the_tensors_and_fails(results: Results) -> None:
    assert results.well
    for verdict in ("inconclusive", "fail"):
        other = dataclasses.replace(results, accuracy=[accuracy("fp32"), accuracy("int8", verdict=verdict)])
        assert not other.well and "layer1.0.relu1 (0.3); --search looks" in " ".join(render(other).split())


def test_a_refused_cell_says_why_once(results: Results) -> None:
    row = {"engine": "tensorrt", "precision": "int8", "batch": 8, "round": 0, "status": "refused", "reason": "no GPU"}
    other = dataclasses.replace(results, cells=[*results.cells, row, {**row, "batch": 32}])
    assert render(other).count("tensorrt int8 refused: no GPU") == 1 and not other.well


def test_csv_has_a_row_for_each_cell_of_each_run(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([results, results]))))
    assert len(rows) == 4 and rows[1]["difference"] == "-0.0011" and float(rows[1]["samples_per_s"]) == 300
    alone = dataclasses.replace(results, cells=[])
    assert [row["accuracy"] for row in csv.DictReader(io.StringIO(as_csv([alone])))] == ["0.81", "0.81"]


SATURATING = {"bits": 7, "saturating": {"Conv 3x3": 0.5059, "Gemm": 0.67}, "reason": None}
FAILED = {"bits": 7, "saturating": {}, "reason": "out of memory"}
REFUSED = {"bits": 8, "saturating": {}, "reason": "no GPU"}


@pytest.mark.parametrize(("weights", "bits", "words"), [
    (SATURATING, "7", "saturate (a probe came to part of the exact sum: 51 % in Conv 3x3, 67 % in Gemm); its INT8 "
                      "weights take 7 bits"),
    (FAILED, "7", "take 7 bits, with which they do not; the probe failed: out of memory"),
    (REFUSED, "8", None), ({**REFUSED, "reason": None}, "8", None)])
def test_weights_of_fewer_bits_are_told_with_what_was_seen(results: Results, weights: Json, bits: str,
                                                           words: str | None) -> None:
    made = {**(results.calibration or {}), "weights": {"onnxruntime": weights}}
    other = dataclasses.replace(results, calibration=made)
    text = " ".join(render(other).split())
    assert words in text if words else "bits" not in text.replace("eight bits", "")
    assert [row["weight_bits"] for row in csv.DictReader(io.StringIO(as_csv([other])))] == ["", bits]
    alone = dataclasses.replace(other, cells=[])
    assert [row["weight_bits"] for row in csv.DictReader(io.StringIO(as_csv([alone])))] == ["", bits]
    assert json.loads(as_json([other]))["calibration"]["weights"]["onnxruntime"] == weights


AUDIT = {"file": "int8-u8s8.onnx", "samples": 64, "sqnr_db": 23.3, "exact_db": 43.4, "agreement": 0.97,
         "exact_agreement": 1.0, "deviates": True, "layer": "conv1", "steps": 2.6, "reason": None}


def test_kernels_that_deviate_mark_the_row_and_are_blamed_for_what_it_loses(results: Results) -> None:
    weights = {"onnxruntime": {"bits": 8, "saturating": {}, "reason": None}}
    made = {**(results.calibration or {}), "weights": weights, "audit": {"onnxruntime": AUDIT}}
    row = accuracy("int8", verdict="fail")
    row["against_fp32"]["worst"] = [{"class": 1, "samples": 9, "before": 9, "after": 2}]
    other = dataclasses.replace(results, calibration=made, accuracy=[accuracy("fp32"), row])
    text = " ".join(render(other).split())
    for words in ("kernels deviate", "deviate from the file's arithmetic on this device (saturation is the usual "
                  "cause), from the layer conv1 on (2.6 steps", "23.3 dB of the logits where exact arithmetic "
                  "of the very same file gives 43.4 dB", "leave --weight-bits to auto, or use 7",
                  "The floor of 0.99 is judged by what these kernels answer: fail; FP32's answer is given for 97.00 % "
                  "of those samples, by exact arithmetic for 100.00 %", "fail (of 0.99), kernels deviate"):
        assert words in text, words
    assert not other.well and "class 1 lost most" not in text and "hurt these tensors" not in text
    assert [one["kernels"] for one in csv.DictReader(io.StringIO(as_csv([other])))] == ["", "deviate"]
    good = dataclasses.replace(other, calibration={**made, "audit": {"onnxruntime": {**AUDIT, "deviates": False}}})
    assert "deviate" not in render(good) and "class 1 lost most" in render(good)
    assert [one["kernels"] for one in csv.DictReader(io.StringIO(as_csv([good])))] == ["", "exact"]
    row["against_fp32"]["floor"] = None
    text = " ".join(render(dataclasses.replace(other, accuracy=[accuracy("fp32"), row])).split())
    assert "not the file's fault; leave" in text and "The floor" not in text
    failed = {"file": "int8-u8s8.onnx", "deviates": None, "reason": "out of memory"}
    unknown = dataclasses.replace(other, calibration={**made, "audit": {"onnxruntime": failed}})
    assert "were not held against the file's arithmetic: out of memory" in " ".join(render(unknown).split())


def test_the_ranking_of_rules_is_printed_with_what_it_was_found_on(results: Results) -> None:
    ranking = [{"rule": "mse", "agreement": 1.0, "sqnr_db": 40.5},
               {"rule": "entropy", "agreement": 0.5, "sqnr_db": 3.0}]
    judged = {"ranking": ranking, "reason": None, "samples": 64, "held_back": True}
    made = {**(results.calibration or {}), "rule": "mse", "judged": judged}
    text = " ".join(render(dataclasses.replace(results, calibration=made)).split())
    assert "64 samples held back from calibration, in exact arithmetic: mse 40.5 dB and 100.00 %, entropy 3.0" in text
    balanced = {**made, "balanced": True, "judged": {**judged, "ranking": [{**ranking[0], "balanced": True}]}}
    text = " ".join(render(dataclasses.replace(results, calibration=balanced)).split())
    assert "INT8: mse, balanced over 1250 samples" in text and "arithmetic: mse, balanced 40.5 dB" in text
    made["judged"] = {"ranking": [{"rule": "mse"}], "reason": "no engine", "samples": 0, "held_back": True}
    text = " ".join(render(dataclasses.replace(results, calibration=made)).split())
    assert "no calibration rule could be judged, so mse was taken: no engine" in text and "held back" not in text


def test_what_seven_bits_cost_is_told(results: Results) -> None:
    weights = {**SATURATING, "cost": {"8": 43.4, "7": 41.5}}
    other = dataclasses.replace(results, calibration={**(results.calibration or {}),
                                                      "weights": {"onnxruntime": weights}})
    assert "the logits have 43.4 dB with 8 and 41.5 dB with 7" in " ".join(render(other).split())


def test_layers_are_a_table_and_why_there_are_none_a_note(results: Results) -> None:
    rows = [{"layer": "conv1", "tensor": "relu1", "sqnr_db": 41.2, "largest": 3.5, "outside": 0.125},
            {"layer": None, "tensor": "logits", "sqnr_db": 40.1, "largest": None, "outside": None}]
    for found, words in ((rows, "conv1 relu1 41.2 dB 3.5 12.50 % output logits"), ([], "not be looked at: too many")):
        one = {"samples": 8, "rows": found, "reason": None if found else "too many"}
        made = {**(results.calibration or {}), "layers": {"onnxruntime": one}}
        assert words in " ".join(render(dataclasses.replace(results, calibration=made)).split())


def searched(verdict: str) -> Json:
    floor = {"floor": 0.99, "verdict": verdict, "margin": 0.0, "low": 0.0, "high": 0.0}
    tried = {"name": "the worst tensor", "left": 3, "int8_share": 0.7764, "right": 0.8, "throughput": None,
             "against_fp32": {"difference": PAIRED, "floor": floor}}
    tensor = {"tensor": "relu1", "sqnr_db": 3.4, "rounding_db": 30.0, "clipping_db": 3.4}
    return {"engine": "onnxruntime", "verdict": verdict, "outcome": "so it ended", "candidates": [tried],
            "sensitivity": [tensor, {"tensor": "relu1", "weights": "conv2", "sqnr_db": 12.5}], "audit": AUDIT}


@pytest.mark.parametrize("verdict", ["pass", "fail"])
def test_a_search_in_vain_is_a_failure_even_if_no_floor_was_named(results: Results, verdict: str) -> None:
    rows = [accuracy("fp32"), accuracy("int8")]
    rows[1]["against_fp32"]["floor"] = None
    other = dataclasses.replace(results, accuracy=rows, searches=[searched(verdict)])
    assert other.well == (verdict == "pass")
    text = " ".join(render(other).split())
    for words in ("so it ended", "77.64 %", "relu1 3.4 dB (rounding 30.0 dB, clipping 3.4 dB), the weights "
                  "that make conv2 12.5 dB",
                  "deviate from the arithmetic of the file that the search chose"):
        assert words in text, words


def test_several_networks_stand_in_one_table_with_their_calibrators(results: Results) -> None:
    other = dataclasses.replace(results, calibration={**(results.calibration or {}), "rule": "mse", "equalised": True})
    text = render(results, other)
    table = text[:text.index("published:")]
    assert text.startswith("INT8 beside FP32, measured and published") and text.count("72.90") == 4
    assert " entropy " in table and " mse, equalised " in table


def test_no_engine_s_name_is_cut_on_a_narrow_terminal(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    other = dataclasses.replace(results, accuracy=[{**row, "engine": "tensorrt-emulated"} for row in results.accuracy])
    text = render(other, other)
    assert "\u2026" not in text and "tensorrt-emulated" in text


def test_report_knows_a_run_of_infer_and_what_its_json_form_printed(results: Results, tmp_path: Path) -> None:
    kept = tmp_path / "accuracy.json"
    kept.write_text(as_json([results]))
    assert as_read(kept) == without_chance(results)
    assert read_old({}) is None and read_old({"arguments": 1}) is None and not read_old([])


def test_results_of_schema_1_are_read_as_they_were_written(results: Results, tmp_path: Path) -> None:
    (tmp_path / OLD).write_text(json.dumps(dataclasses.asdict(results)))
    assert as_read(tmp_path) == without_chance(results)
    for text in ("not json", json.dumps(dataclasses.asdict(results) | {"schema": 99})):
        (tmp_path / OLD).write_text(text)
        with pytest.raises(UsageError):
            read(tmp_path)


def test_records_of_a_run_say_what_its_file_of_schema_1_said() -> None:
    """Every stored run is drawn from records again, number by number."""
    files = sorted((Path(__file__).parents[3] / "docs" / "results").glob("*-inference/accuracy-*.json"))
    assert len(files) > 5
    for file in files:
        said, found = json.loads(file.read_text()), read(file)
        assert found
        again = json.loads(as_json(summaries(found)))
        for part in ("accuracy", "searches", "network", "calibration", "plan", "data"):
            assert again[part] == said[part], file
        assert len(again["speeds"]) == len({(row["engine"], row["precision"], row["batch"]) for row in said["cells"]
                                            if row["status"] == "ok"})


def test_rounds_give_verdicts_between_engines_and_between_precisions(results: Results) -> None:
    def in_rounds(precision: str, rates: list[float], engine: str) -> list[Json]:
        return [cell(precision, [window(rate), window(rate)], number=n) | {"engine": engine}
                for n, rate in enumerate(rates)]

    cells = [*in_rounds("fp32", [100, 101, 99], "onnxruntime"), *in_rounds("int8", [300, 303, 297], "onnxruntime"),
             *in_rounds("fp32", [50, 50.5, 49.5], "openvino")]
    plan = results.plan | {"rounds": 3, "engines": ["onnxruntime", "openvino"]}
    records = list(records_of(dataclasses.replace(results, cells=cells, plan=plan)))
    found = {(one.name, one.baseline): one for each in kind("inference").compare(records, Judging())
             for one in each.verdicts}
    assert {key: one.word for key, one in found.items()} == {
        ("openvino:precision=fp32", "onnxruntime:precision=fp32"): "slower",
        ("onnxruntime:precision=int8", "onnxruntime:precision=fp32"): "faster"}
    text = kind("inference").report(Answer(records), "table", Judging())
    assert "Verdicts" in text and "faster" in text and "slower" in text
    (one, _) = json.loads(kind("inference").report(Answer(records), "json", Judging()))["verdicts"]
    assert one["verdicts"][0]["word"] == "slower"


def as_read(path: Path) -> Json:
    found: list[Any] = read(path)
    assert found
    return without_chance(summary(found))


def without_chance(results: Results) -> Json:
    """Return what of a summary does not depend on which of its rows knew what."""
    data = dataclasses.asdict(results)
    keys = ("engine", "precision", "batch", "status", "ran", "startup")
    return data | {"cells": [{key: row[key] for key in keys} for row in data["cells"]],
                   "accuracy": [{key: value for key, value in row.items() if key != "build"}
                                for row in data["accuracy"]]}


def test_the_share_of_the_measured_peak_stands_beside_a_speed_where_it_is_known(results: Results) -> None:
    assert "of peak" not in render(results)
    limits = {"limits": {"arithmetic": 1000.0}}
    known = [cell if cell["precision"] == "int8" else {**cell, "bounds": limits} for cell in results.cells]
    found = dataclasses.replace(results, cells=known)
    one = next(one for one in speeds(found) if one.precision == "fp32")
    assert one.of_peak == pytest.approx(one.throughput / 1000.0)
    assert {one.of_peak for one in speeds(found) if one.precision == "int8"} <= {None}
    assert "of peak" in render(found) and f"{100 * one.of_peak:.2g} %" in render(found)
