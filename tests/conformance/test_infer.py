"""``dlcompare infer`` for real: a network trained here, its INT8 under every engine, calibrator and protocol."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from running import Command, eventually, offering
from safetensors.numpy import load_file, save_file
from spoiled import spoil, spoil_stream

from dlcompare.inference.precision.samples import ids_sha256

# The published last layer, as in docs/inference.md: its figures, and the half points below, are of this very network.
TRAIN = ("--framework", "pytorch-ddp", "--model", "resnet18", "--image-size", "32", "--batch", "32", "--lr", "0.05",
         "--schedule", "cosine:660", "--target", "top1=0.96", "--max-epochs", "20", "--save", "--seed", "1",
         "--classes", "1000")
ENGINES = "onnxruntime,openvino,tensorrt-emulated"
POINTS = 0.005  # of accuracy that INT8 may lose: one of the 360 test images is 0.0028


class Done(NamedTuple):
    code: int
    out: str
    told: str
    folder: Path

    @property
    def found(self) -> dict[str, Any]:
        """Return what ``--format json`` printed."""
        assert self.out, self.told
        return json.loads(self.out)

    def accuracy(self, engine: str, precision: str) -> dict[str, Any]:
        """Return the row of one engine and precision."""
        (row,) = [row for row in self.found["accuracy"] if (row["engine"], row["precision"]) == (engine, precision)]
        return row


def dlcompare(*words: str | Path, cwd: Path, **variables: str) -> Done:
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", *map(str, words)], cwd=cwd, capture_output=True,
                          text=True, timeout=1200, check=False, env={**os.environ, **variables})
    return Done(done.returncode, done.stdout, done.stderr, cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that trained resnet18 on digits and kept it."""
    folder = tmp_path_factory.mktemp("trained")
    done = dlcompare(*TRAIN, "--format", "json", cwd=folder)
    assert done.code == 0, done.told
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.fixture(scope="module")
def usual(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Return a whole run with the defaults, short windows apart."""
    folder = tmp_path_factory.mktemp("usual")
    return dlcompare("infer", "--from-run", trained, "--engine", ENGINES.partition(",tensorrt")[0], "--batch", "1,8",
                     "--windows", "2", "--window-seconds", "0.2", "--accuracy-floor", "0.98", "--plot",
                     folder / "figure.svg", "--format", "json", cwd=folder)


def test_a_network_trained_here_keeps_its_accuracy_in_int8_under_every_engine(usual: Done) -> None:
    for engine in ("onnxruntime", "openvino"):
        fp32, int8 = usual.accuracy(engine, "fp32"), usual.accuracy(engine, "int8")
        assert fp32["right"] > 0.95 and fp32["samples"] == 360
        assert int8["ran"]["precision"] == "int8" and int8["ran"]["layers"] == 21 and not int8["ran"]["left"]
        assert abs(int8["right"] - fp32["right"]) <= POINTS and int8["against_fp32"]["sqnr_db"] > 25
        assert int8["against_fp32"]["floor"]["verdict"] in ("pass", "inconclusive")


def test_speed_is_measured_for_every_cell_and_says_what_ran(usual: Done) -> None:
    speeds = {(row["engine"], row["precision"], row["batch"]): row for row in usual.found["speeds"]}
    assert len(speeds) == 8 and all(row["throughput"] > 0 and row["p50"] <= row["p99"] for row in speeds.values())
    assert {key[1] for key, row in speeds.items() if row["ran"]["precision"] == key[1]} == {"fp32", "int8"}
    builds = [cell["build"] for cell in usual.found["cells"]]
    assert all(build["bytes"] > 1e6 and build["cached"] for build in builds)  # accuracy came first and built them


def test_calibration_is_on_record_and_apart_from_what_is_measured(usual: Done) -> None:
    made = usual.found["calibration"]
    assert made["split"] == "train" and len(made["samples"]) == len(set(made["samples"])) == 718
    assert made["samples_sha256"] == ids_sha256(made["samples"]) and made["tensors"] > 20
    ranking = made["judged"]["ranking"]
    assert made["judged"]["held_back"] and len({one["rule"] for one in ranking}) == 4
    assert made["rule"] == ranking[0]["rule"] and all(one["sqnr_db"] > 20 for one in ranking)


def test_weights_take_the_bits_that_each_engine_s_kernels_are_right_with(usual: Done) -> None:
    files = {file.name for file in usual.folder.glob("runs/*/models/int8*")}
    asked = [json.loads(file.read_text())["engine"] for file in usual.folder.glob("runs/*/*-probe-*/job.json")]
    weights = usual.found["calibration"]["weights"]
    assert sorted(asked) == sorted(weights) == ["onnxruntime", "openvino"], "each is asked once"
    assert all(found["bits"] == (7 if found["saturating"] else 8) for found in weights.values())
    assert files == {int8_file(found["bits"]) for found in weights.values()}
    for file in usual.folder.glob("runs/*/*/job.json"):
        job = json.loads(file.read_text())
        if job["precision"] == "int8" and job["task"] in ("measure", "predict", "audit"):
            assert Path(job["file"]).name == int8_file(weights[job["engine"]]["bits"])


def test_kernels_that_saturate_are_found_out_and_seven_bits_mend_them(trained: Path, tmp_path: Path) -> None:
    """OpenVINO told to do without VNNI saturates on any x86 CPU."""
    found = {}
    for bits in ("8", "auto"):
        (folder := tmp_path / bits).mkdir()
        done = dlcompare("infer", "--from-run", trained, "--engine", "openvino", "--weight-bits", bits, "--no-speed",
                         "--layers", "--format", "json", cwd=folder, ONEDNN_MAX_CPU_ISA="AVX2")
        found[bits] = done.found["calibration"]["audit"]["openvino"]
        first = done.found["calibration"]["layers"]["openvino"]["rows"][0]
        assert first["layer"] == "conv1" and (first["sqnr_db"] < 30) == (bits == "8")
    assert found["8"]["deviates"] and found["8"]["layer"] == "conv1" and found["8"]["file"] == "int8-u8s8.onnx"
    assert not found["auto"]["deviates"] and found["auto"]["file"] == "int8-u8s8-w7.onnx"
    assert found["8"]["exact_db"] > found["auto"]["exact_db"] > 10 + found["8"]["sqnr_db"]


def int8_file(bits: int) -> str:
    return "int8-u8s8.onnx" if bits == 8 else f"int8-u8s8-w{bits}.onnx"


def test_the_figure_shows_every_line(usual: Done) -> None:
    text = (usual.folder / "figure.svg").read_text()
    assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
    for name in ("onnxruntime fp32", "onnxruntime int8", "openvino fp32", "openvino int8", "batch size, samples"):
        assert f"<!-- {name} -->" in text


@pytest.mark.parametrize("rule", ["minmax", "percentile", "mse", "entropy"])
def test_every_calibrator_holds_half_a_point(trained: Path, tmp_path: Path, rule: str) -> None:
    done = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime,tensorrt-emulated", "--calibrate", rule,
                     "--no-speed", "--format", "json", cwd=tmp_path)
    for engine in ("onnxruntime", "tensorrt-emulated"):
        assert abs(done.accuracy(engine, "int8")["against_fp32"]["difference"]["value"]) <= POINTS
    assert done.code == 0 and done.accuracy("tensorrt-emulated", "int8")["against_fp32"]["sqnr_db"] > 20


def test_bert_in_int8_runs_and_is_reported(tmp_path: Path) -> None:
    """Nobody has trained it, so nothing is said of accuracy; its answers stay FP32's, and its dense layers are INT8."""
    done = dlcompare("infer", "--model", "bert-tiny", "--data", "words", "--engine", "onnxruntime,openvino",
                     "--no-speed", "--format", "json", cwd=tmp_path, **offering("tiny"))
    for engine in ("onnxruntime", "openvino"):
        row, audit = done.accuracy(engine, "int8"), done.found["calibration"]["audit"][engine]
        assert row["metric"] == "exact match" and row["against_fp32"]["sqnr_db"] > 25
        assert row["against_fp32"]["agreement"] > 0.9 and not audit["deviates"]
        assert row["ran"]["precision"] == "int8" and row["ran"]["layers"] == 14 and not row["ran"]["left"]


def test_the_papers_protocol_takes_both_from_the_test_split_and_no_sample_twice(trained: Path, tmp_path: Path) -> None:
    done = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime", "--protocol", "xu2018",
                     "--calibration-samples", "100", "--no-speed", "--format", "json", cwd=tmp_path)
    assert done.found["calibration"]["split"] == "test" and len(done.found["calibration"]["samples"]) == 100
    assert done.accuracy("onnxruntime", "int8")["samples"] == 260
    jobs = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/*/job.json")]
    by_task = {job["task"]: set(job["samples"]) for job in jobs}
    assert not by_task["collect"] & by_task["predict"] and len(by_task["collect"] | by_task["predict"]) == 360


def test_a_spoiled_network_fails_the_floor_names_the_tensors_and_is_repaired(trained: Path, tmp_path: Path) -> None:
    good = next(trained.glob("*/params.safetensors"))
    spoilt, tampered = spoil(load_file(good))
    save_file(spoilt, tmp_path / "spoilt.safetensors")
    done = dlcompare("infer", "--model", "resnet18", "--image-size", "32", "--weights", tmp_path / "spoilt.safetensors",
                     "--data", "digits", "--engine", "onnxruntime", "--accuracy-floor", "0.97", "--search",
                     "--no-speed", "--format", "json", cwd=tmp_path)
    before, after = done.accuracy("onnxruntime", "fp32"), done.accuracy("onnxruntime", "int8")
    assert before["right"] > 0.95 and after["right"] < 0.8
    assert after["against_fp32"]["floor"]["verdict"] == "fail" and after["against_fp32"]["worst"]
    assert set(list(done.found["calibration"]["most_sensitive"])[:len(tampered)]) == set(tampered)
    (search,) = done.found["searches"]
    assert search["verdict"] == "pass" and done.code == 0
    chosen = next(one for one in search["candidates"] if one["name"] == search["chosen"])
    assert abs(chosen["right"] - before["right"]) <= 0.01 and chosen["throughput"] > 0


def test_what_equalising_cannot_repair_stays_in_fp32_and_no_more_than_that(trained: Path, tmp_path: Path) -> None:
    save_file(spoil_stream(load_file(next(trained.glob("*/params.safetensors")))), tmp_path / "spoilt.safetensors")
    done = dlcompare("infer", "--model", "resnet18", "--image-size", "32", "--weights", tmp_path / "spoilt.safetensors",
                     "--data", "digits", "--engine", "onnxruntime", "--accuracy-floor", "0.97", "--search",
                     "--no-speed", "--windows", "1", "--window-seconds", "0.1", "--format", "json", cwd=tmp_path)
    (search,) = done.found["searches"]
    assert search["verdict"] == "pass" and done.code == 0
    equalised = next(one for one in search["candidates"] if one["equalised"])
    chosen = next(one for one in search["candidates"] if one["name"] == search["chosen"])
    assert equalised["right"] < 0.8 and 1 < chosen["left"] < 15 and chosen["excluded"]
    assert 0.3 < chosen["int8_share"] < 1
    activations = [one for one in search["sensitivity"] if "weights" not in one]
    assert [one["rounding_db"] < 6 for one in activations].count(True) == 3  # of the stream that was spoilt
    weights = [one for one in search["sensitivity"] if "weights" in one]
    assert weights and all(one["tensor"] in {row["tensor"] for row in activations} for one in weights)
    assert {one["rule"] for one in search["candidates"]} == {"minmax", "percentile", "mse", "entropy"}
    assert abs(chosen["right"] - done.accuracy("onnxruntime", "fp32")["right"]) <= 0.01


@pytest.mark.slow
def test_a_search_that_leaves_nothing_in_int8_has_failed(trained: Path, tmp_path: Path) -> None:
    """Nothing but FP32 itself surely holds all of its accuracy on so few samples."""
    done = dlcompare("infer", "--from-run", trained, "--engine", "tensorrt-emulated", "--accuracy-floor", "1",
                     "--search", "--no-speed", "--samples", "40", "--format", "json", cwd=tmp_path)
    (search,) = done.found["searches"]
    assert done.code == 1 and search["verdict"] == "fail" and "nothing held 1 of FP32" in search["outcome"]
    shares = [one["int8_share"] for one in search["candidates"]]
    assert len(shares) > 6 and 0 < min(shares) < 0.5


def test_without_a_repair_the_floor_is_the_exit_code(trained: Path, tmp_path: Path) -> None:
    spoilt, tampered = spoil(load_file(next(trained.glob("*/params.safetensors"))))
    save_file(spoilt, tmp_path / "spoilt.safetensors")
    done = dlcompare("infer", "--model", "resnet18", "--image-size", "32", "--weights", tmp_path / "spoilt.safetensors",
                     "--data", "digits", "--engine", "onnxruntime", "--accuracy-floor", "0.97", "--no-speed",
                     cwd=tmp_path)
    assert done.code == 1 and "fail" in done.out and all(name in done.out for name in tampered)


def test_what_an_engine_buys_over_the_framework_can_be_read_off(trained: Path, tmp_path: Path) -> None:
    done = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime,pytorch-ddp", "--precision", "fp32",
                     "--batch", "8", "--windows", "2", "--window-seconds", "0.3", "--format", "csv", cwd=tmp_path)
    rows = {row["engine"]: row for row in csv.DictReader(io.StringIO(done.out))}
    assert float(rows["pytorch-ddp"]["samples_per_s"]) > 0 and done.code == 0
    assert float(rows["onnxruntime"]["accuracy"]) == float(rows["pytorch-ddp"]["accuracy"])


def test_mlperfs_scenarios_run(trained: Path, tmp_path: Path) -> None:
    done = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime", "--precision", "int8", "--batch", "8",
                     "--scenario", "single-stream,multi-stream,server,offline", "--scenario-seconds", "1",
                     "--latency-bound", "0.2", "--no-accuracy", "--windows", "1", "--window-seconds", "0.1",
                     "--format", "json",
                     cwd=tmp_path)
    rows = {row["scenario"]: row for row in done.found["scenarios"]}
    assert list(rows) == ["single-stream", "multi-stream", "server", "offline"] and done.told is not None
    assert all(row["status"] == "ok" and row["value"] > 0 for row in rows.values()), done.told
    assert rows["single-stream"]["unit"] == "s" and rows["offline"]["unit"] == "samples/s"


def test_calibration_can_be_used_again_but_not_for_another_network(trained: Path, tmp_path: Path) -> None:
    first = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime", "--no-speed", "--format", "json",
                      cwd=tmp_path)
    (artifact,) = tmp_path.glob("runs/*/*/calibration.npz")
    bits = first.found["calibration"]["weights"]["onnxruntime"]["bits"]
    assert {file.name for file in tmp_path.glob("runs/*/models/*")} == {"fp32.onnx", "probe.onnx", int8_file(bits)}
    builds = list(tmp_path.glob("runs/*/builds/onnxruntime/*/model.onnx"))
    assert builds and all(file.with_name("model.onnx.data").stat().st_size > file.stat().st_size for file in builds)
    again = dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime", "--no-speed", "--calibrate", "minmax",
                      "--calibration", artifact, "--format", "json", cwd=tmp_path)
    assert again.code == 0 and again.found["calibration"]["samples"] == first.found["calibration"]["samples"]
    assert len(list(tmp_path.glob("runs/*/*/calibration.npz"))) == 1
    params = load_file(next(trained.glob("*/params.safetensors")))
    params["conv1.weight"] = params["conv1.weight"] * np.float32(1.001)
    save_file(params, tmp_path / "other.safetensors")
    other = dlcompare("infer", "--model", "resnet18", "--image-size", "32", "--weights", tmp_path / "other.safetensors",
                      "--engine", "onnxruntime", "--no-speed", "--calibration", artifact, cwd=tmp_path)
    assert other.code == 2 and "of another network" in other.told


def test_a_users_own_file_is_calibrated_and_measured(trained: Path, tmp_path: Path) -> None:
    dlcompare("infer", "--from-run", trained, "--engine", "onnxruntime", "--precision", "fp32", "--no-speed",
              cwd=tmp_path)
    (file,) = tmp_path.glob("runs/*/models/fp32.onnx")
    done = dlcompare("infer", "--onnx", file, "--data", "digits", "--engine", "onnxruntime,pytorch-ddp", "--no-speed",
                     "--format", "json", cwd=tmp_path)
    assert done.accuracy("onnxruntime", "int8")["right"] > 0.94
    assert done.accuracy("pytorch-ddp", "fp32")["status"] == "refused" and done.code == 1
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "fours.onnx")
    fours = dlcompare("infer", "--onnx", tmp_path / "fours.onnx", "--data", "digits", "--engine", "onnxruntime",
                      "--batch", "4,8", "--windows", "1", "--window-seconds", "0.1", "--format", "json", cwd=tmp_path)
    assert fours.code == 1 and "takes batches of 4 alone; use --batch 4" in fours.told
    for precision in ("fp32", "int8"):
        right = fours.accuracy("onnxruntime", precision)["right"]
        assert abs(right - done.accuracy("onnxruntime", precision)["right"]) <= 1 / 360
    model.graph.node[3].op_type = "Frobnicate"
    onnx.save(model, tmp_path / "odd.onnx")
    odd = dlcompare("infer", "--onnx", tmp_path / "odd.onnx", "--data", "digits", "--engine", "onnxruntime",
                    cwd=tmp_path)
    assert odd.code == 2 and "Frobnicate" in odd.told


@pytest.mark.parametrize(("words", "said"), [
    (("--engine", "onnxrutime"), "onnxruntime"),
    (("--engine", "onnxruntime", "--precision", "int9"), "int8"),
    (("--engine", "onnxruntime", "--data", "synthetic"), "real data"),
    (("--engine", "onnxruntime", "--calibration-samples", "3"), "less than one calibration batch of 5"),
    (("--engine", "onnxruntime", "--calibration-samples", "5000"), "1437 samples"),
    (("--engine", "onnxruntime", "--accuracy-floor", "76"), "above 0 and at most 1"),
    (("--engine", "onnxruntime", "--weights", "x.pth", "--from-run", "."), "leave one of them out"),
    (("--engine", "onnxruntime", "--plot", "x.jpg"), ".png or .svg"),
])
def test_bad_requests_say_what_is_allowed(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = dlcompare("infer", "--model", "resnet18", "--image-size", "32", *words, cwd=tmp_path)
    assert done.code == 2 and said in done.told and "Traceback" not in done.told
    assert not list(tmp_path.glob("runs/*")), "a bad request must leave no run behind"


def test_an_interrupt_leaves_no_process_and_keeps_what_was_found(trained: Path, tmp_path: Path) -> None:
    command = Command("infer", "--from-run", str(trained), "--engine", "onnxruntime", "--precision", "fp32", "--batch",
                      "1", "--windows", "500", out=tmp_path / "out", folder=tmp_path, variables={})
    eventually(lambda: "samples/s" in command.told or command.process.poll() is not None, within=120)
    command.process.send_signal(signal.SIGINT)
    assert command.wait() == 130 and command.nothing_left()
    (kept,) = (tmp_path / "out").glob("*/records.json")
    assert json.loads(kept.read_text())[0]["accuracy"]["right"] > 0.9


def test_without_a_gpu_every_engine_on_cuda_says_so_and_nothing_is_installed(tmp_path: Path) -> None:
    done = dlcompare("infer", "--model", "resnet18", "--image-size", "32", "--data", "digits", "--device", "cuda",
                     "--engine", "onnxruntime,tensorrt,openvino", "--precision", "fp32", "--batch", "1", "--format",
                     "json", cwd=tmp_path)
    assert done.code == 1 and "environment" not in done.told
    reasons = {row["engine"]: row["reason"] for row in done.found["cells"] if row["status"] == "refused"}
    assert "GPU" in reasons["onnxruntime"] and "GPU" in reasons["tensorrt"] and "runs on cpu" in reasons["openvino"]


def test_a_run_that_kept_nothing_or_too_much_is_named(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = dlcompare("infer", "--from-run", tmp_path / "empty", "--engine", "onnxruntime", cwd=tmp_path)
    assert done.code == 2 and "train with --save" in done.told
