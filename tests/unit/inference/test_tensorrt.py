"""TensorRT where it is not installed and there is no GPU: what is refused and why, and its inspector's words.

tests/conformance/test_tensorrt_library.py has the same questions for the library itself.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from typing import Any

import pytest

from dlcompare.core.environments.interpreters import check
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.plugins.engine import Ran
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.engines.tensorrt.inspector import executed
from dlcompare.inference.engines.tensorrt.limits import batch_trouble
from dlcompare.inference.engines.tensorrt.versions import TABLE, expected_api, foreign

V100, T4, H100 = (7, 0), (7, 5), (9, 0)


def job(**more: Any) -> InferenceJob:
    return InferenceJob(**{"engine": "tensorrt", "model": "resnet50", "device": "cuda", "precision": "int8", **more})


@pytest.fixture(params=["tensorrt", "tensorrt85"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # no GPU, whatever machine this is
    return plugins().engine(request.param)


def test_no_gpu_is_said_plainly_with_what_to_do(engine: Any) -> None:
    assert "no NVIDIA GPU" in engine.refuse(job()) and "tensorrt-emulated" in engine.refuse(job())
    assert "runs on cuda" in engine.refuse(job(device="cpu")) and engine.environment("cpu") is None


def test_a_gpu_is_enough(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("dlcompare.core.machine.accelerators.accelerators", lambda: [{"index": 0}])
    assert engine.refuse(job()) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1,0")
    assert "no NVIDIA GPU" in engine.refuse(job()), "one that is hidden is none"


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_without_the_library_the_wheels_are_named(engine: Any) -> None:
    wheels = "For CUDA 13 install tensorrt-cu13, for CUDA 12 tensorrt-cu12", "tensorrt==8.5.3.1 with CPython 3.10"
    works, said = check(sys.executable, engine.environment("cuda").check)
    assert not works and all(wheel in said for wheel in wheels)
    with pytest.raises(JobError) as told:
        engine.load()
    assert str(told.value) == said and "No module named 'tensorrt'" in said


def test_bf16_is_refused_where_the_version_has_none(engine: Any) -> None:
    lacking = "offers fp32, fp16, int8, not bf16" in engine.refuse(job(precision="bf16"))
    assert lacking == (not expected_api({"tensorrt": "11.4", "tensorrt85": "8.5.3.1"}[engine.name]).bf16)


def test_the_calibrator_ends_with_version_10(engine: Any) -> None:
    said = engine.refuse(job(calibrator="tensorrt-entropy2"))
    assert ("version 11 removed them" in said) == (not engine.calibrators)
    assert bool(engine.calibrators) == expected_api({"tensorrt": "11.4", "tensorrt85": "8.5"}[engine.name]).calibrators
    assert "has no calibrator tensorrt-entropy2" in plugins().engine("onnxruntime").refuse(
        job(calibrator="tensorrt-entropy2", device="cpu"))


@pytest.mark.parametrize("batch", range(1, 10))
def test_int8_takes_batches_in_fours_before_turing(batch: int) -> None:
    said = batch_trouble(job(batch=batch), V100, "Tesla V100")
    assert (said is None) == (batch % 4 == 0)
    if said:
        assert "Tesla V100" in said and said.endswith(f"use --batch {4 if batch < 4 else 8 if batch < 8 else 12}")
    assert batch_trouble(job(batch=batch), T4, "T4") is None
    assert batch_trouble(job(batch=batch, precision="fp16"), V100, "Tesla V100") is None


def test_the_table_answers_for_versions_between_its_lines() -> None:
    assert expected_api("8.5.3.1") == TABLE[8, 5] and expected_api("10.16.1.11") == TABLE[10, 1]
    assert not expected_api("11.0.0.114").calibrators and expected_api("10.16").calibrators
    assert expected_api("9.3") == TABLE[9, 0] and expected_api("12.0") == TABLE[11, 0]


@pytest.mark.parametrize("other", [{"tensorrt": "10.16.1.11"}, {"gpu": "NVIDIA L4"}, {"capability": "8.9"}])
def test_a_plan_of_another_version_or_gpu_is_refused_naming_both(other: dict[str, str]) -> None:
    here = {"tensorrt": "8.5.3.1", "gpu": "Tesla V100", "capability": "7.0", "cuda": "11.8"}
    said = str(foreign({**here, **other, "layers": []}, here))
    assert all(value in said for value in (*other.values(), "8.5.3.1", "Tesla V100", "7.0"))
    assert foreign({**here, "layers": []}, here) is None


def told(*layers: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["image", "logits"]})


# The first is like the example in NVIDIA's developer guide, "Engine Inspector".
CONVOLUTION = {"Name": "conv1/weight/quantised + conv1 + relu1", "LayerType": "CaskConvolution", "Inputs": [
    {"Name": "x", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}],
    "Weights": {"Type": "Int8", "Count": 131072},
    "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32"}
HIDDEN = {"Inputs": [{"Name": "x", "Format/Datatype": "N/A due to dynamic shapes"}]}


def test_layers_are_found_by_name_and_by_metadata_and_the_rest_is_named() -> None:
    half = {**HIDDEN, "Name": "__myl_Fc", "LayerType": "fusion", "Weights": {"Type": "Half"},
            "Metadata": "[ONNX Layer: relu7]\x1e[ONNX Layer: conv2]"}
    kernel = {**HIDDEN, "Name": "fc", "LayerType": "gemm", "TacticName": "sm80_xmma_gemm_i8i8_i8i32_f32_tn"}
    moved = {"Name": "conv3", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Int8"}]}
    assert executed(told(CONVOLUTION, half, kernel, moved), ["conv1", "conv2", "fc", "conv3"], "int8") == Ran(
        "int8", 4, ("conv2", "conv3 (not told)"))


@pytest.mark.parametrize(("layer", "precision"), [
    ({"Weights": {"Type": "Float"}, "TacticName": "sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwc"}, "tf32"),
    ({"Weights": {"Type": "Float"}, "TacticName": "ampere_scudnn_128x64_relu_small_nn_v1"}, "fp32"),
    ({"Weights": {"Type": "Float"}, "Inputs": [{"Format/Datatype": "Int8"}]}, "fp32"),  # what it reads is not enough
    ({"Weights": {"Type": "BFloat16"}}, "bf16"),
    ({"TacticName": "sm80_xmma_gemm_f16f16_f16f32_f32_tn"}, "fp16"),
    ({"TacticName": "sm90_xmma_gemm_bf16bf16_bf16f32_f32"}, "bf16"),
    ({"Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]}, "fp16"),
])
def test_what_a_layer_computes_in(layer: dict[str, Any], precision: str) -> None:
    one = {"Name": "conv1", "LayerType": "CaskConvolution", **layer}
    assert executed(told(one), ["conv1"], precision) == Ran(precision, 1)


def test_an_engine_that_tells_names_alone_tells_nothing() -> None:
    assert executed(told("conv1 + relu1"), ["conv1"], "int8") == Ran("int8", 0)


@pytest.mark.parametrize("more", [{"search": True}, {"equalise": True}, {"calibration": "calibration.npz"},
                                  {"weight_bits": "7"}, {"layers": True}])
def test_an_engines_own_calibrator_leaves_nothing_to_repair(more: dict[str, Any]) -> None:
    plan = InferenceRequest(model="resnet18", engines=("tensorrt85",), calibrator="tensorrt-entropy2")
    assert [precision for precision in ("fp32", "fp16", "int8") if plan.engine_calibrates(precision)] == ["int8"]
    assert not dataclasses.replace(plan, calibrator="entropy", **more).engine_calibrates("int8")
    with pytest.raises(UsageError, match="leaves INT8 to the engine"):
        dataclasses.replace(plan, **more)


def test_calibration_samples_survive_the_journey_to_the_worker() -> None:
    sent = job(calibrator="tensorrt-entropy2", calibration=(3, 1, 2), calibration_train=False)
    assert InferenceJob.from_json(sent.to_json()) == sent
    assert dataclasses.replace(sent, calibration=(3, 1)).id != sent.id
