"""What engines refuse and why, and what frameworks are as engines; nothing here needs an engine's library."""

from __future__ import annotations

from typing import Any

import pytest

from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.engines import openvino
from dlcompare.inference.engines.openvino import OpenVino


def job(engine: str, **settings: Any) -> InferenceJob:
    engine_reads = plugins().engine(engine).reads
    source = {"file": "net.onnx"} if engine_reads == "onnx" else {"weights": "net.safetensors"}
    return InferenceJob(engine=engine, model="resnet18", **{**source, **settings})


def refused(engine: str, **settings: Any) -> str | None:
    return plugins().engine(engine).refuse(job(engine, **settings))


ON_CPU = [name for name, engine in plugins().engines().items() if "cpu" in engine.devices]


@pytest.mark.parametrize("name", ON_CPU)
def test_what_an_engine_offers_it_does_not_refuse(name: str) -> None:
    engine = plugins().engine(name)
    assert refused(name, task="predict") is None
    assert engine.title and (engine.scheme in ("u8s8", "s8s8") or "int8" not in engine.precisions)


@pytest.mark.parametrize(("name", "settings", "words"), [
    ("onnxruntime", {"precision": "fp16"}, "no fp16 kernels for CPUs"),
    ("onnxruntime", {"precision": "bf16"}, "offers fp32, fp16, int8, not bf16"),
    ("onnxruntime", {"device": "tpu"}, "runs on cpu, cuda, not on tpu"),
    ("onnxruntime-tensorrt", {}, "runs on cuda, not on cpu"),
    ("tensorrt-emulated", {"precision": "int8"}, "says nothing about speed"),
    ("openvino", {"device": "cuda"}, "runs on cpu, not on cuda"),
    ("openvino", {"precision": "fp16"}, "fp16 files in fp32 on a CPU"),
    ("pytorch-ddp", {"precision": "int8"}, "INT8 is for inference engines"),
    ("jax", {"weights": None}, "not an ONNX file"),
    ("reference", {"precision": "bf16"}, "reference offers fp32, not bf16"),
    ("jax", {"device": "tpu"}, "no TPU"),
])
def test_refusals_say_why(name: str, settings: dict[str, Any], words: str) -> None:
    assert words in str(refused(name, **settings))


@pytest.mark.parametrize(("flags", "offered"), [
    ({"avx512f", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx512f", "avx512_vnni"}, False), (set(), False)])
def test_openvino_offers_bf16_where_the_cpu_has_it(flags: set[str], offered: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "cpu_has", lambda *features: not flags.isdisjoint(features))
    reason = OpenVino().refuse(job("openvino", precision="bf16"))
    assert reason is None if offered else "avx512_bf16 or amx_bf16" in str(reason)


def test_every_backend_is_an_engine_in_its_own_environment() -> None:
    for name, backend in plugins().backends().items():
        engine: Engine = plugins().engine(name)
        assert engine.reads == "graph" and engine.environment("cpu") == backend.environment("cpu")
        assert engine.devices == backend.devices and "tf32" not in engine.precisions


def test_engines_of_one_library_share_its_environment() -> None:
    for name, owner in {"onnxruntime": "", "onnxruntime-tensorrt": "onnxruntime",
                        "tensorrt-emulated": "onnxruntime"}.items():
        spec = plugins().engine(name).environment("cuda")
        assert spec and spec.owner == owner


def test_threads_of_a_framework_are_told_as_for_training() -> None:
    assert plugins().engine("jax").variables(job("jax", threads=2))["NPROC"] == "2"
    assert plugins().engine("onnxruntime").variables(job("onnxruntime", device="cuda")) == {
        "NVIDIA_TF32_OVERRIDE": "0"}


@pytest.mark.parametrize("name", ["mxnet", "mxnet-horovod"])
def test_mxnet_refuses_bf16_where_nobody_has_tried_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = plugins().backend(name)
    monkeypatch.setattr("dlcompare.frameworks.mxnet.cpu_has", lambda *features: False)
    assert "AVX-512" in str(backend.refuse(Job(name, "resnet18", precision="bf16")))
    assert backend.refuse(Job(name, "resnet18")) is None
