"""Every inference engine on offer, in its own environment: the oracle's outputs, and the truth about itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import tiny
from onnx import helper
from running import PLUGINS

from dlcompare.core.environments.sources import linked_sources
from dlcompare.core.graph.ops import trace
from dlcompare.core.graph.params import initial_params, write_params
from dlcompare.core.launch.start import WORKER
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.variables import rank_file
from dlcompare.inference.onnx.export import content_sha256, export
from dlcompare.inference.precision.half import lower
from dlcompare.inference.precision.histograms import instrument
from dlcompare.inference.precision.quantise import activation_tensors, layers_left, quantise
from dlcompare.inference.precision.saturation import INPUTS, LAYERS, question, saturating
from dlcompare.inference.precision.tensorrt_rules import violations

ENGINES = [name for name, engine in plugins().engines().items() if "cpu" in engine.devices]
READING_ONNX = [name for name in ENGINES if plugins().engine(name).reads == "onnx"]
INT8 = [name for name in READING_ONNX if "int8" in plugins().engine(name).precisions]
UNSIGNED = [name for name in INT8 if plugins().engine(name).scheme == "u8s8"]
COUNT = 4  # of layers of the network: conv1, conv2, conv3, fc
SAMPLES = 12  # in batches of 5: the last one is short


class Network(NamedTuple):
    """The network of the tests with parameters that hide nothing, the samples, and what the oracle makes of them."""

    model: onnx.ModelProto
    weights: Path
    images: np.ndarray
    logits: np.ndarray


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    graph = trace("tiny-residual", tiny.residual, tiny.INPUTS)
    random = np.random.default_rng(3)
    params = {name: np.abs(value + 0.3 * random.standard_normal(value.shape)).astype(np.float32) if "bn" in name
              else value for name, value in initial_params(graph, 0).items()}  # so that batch norm is no identity
    weights = tmp_path_factory.mktemp("network") / "weights.safetensors"
    write_params(weights, params)
    batch = tiny.Stripes(graph.inputs).batch(np.arange(SAMPLES), epoch=0)
    oracle = plugins().backend("reference").trainer(graph, params, Job("reference", "tiny-residual"))
    return Network(export(graph, params), weights, batch["image"], oracle.predict(batch)["logits"])


class Bench:
    """Runs jobs of the network in processes of their own, as the launcher does."""

    def __init__(self, folder: Path, network: Network, python: Callable[[str], Path]) -> None:
        self.folder, self.network, self.python = folder, network, python

    def job(self, engine: Engine, model: onnx.ModelProto | None = None, *, refused: bool = False,
            **more: Any) -> InferenceJob:
        file = self.folder / "network.onnx"
        onnx.save(model or self.network.model, file)
        source: dict[str, Any] = {"weights": str(self.network.weights)} if engine.reads == "graph" else {
            "file": str(file), "sha256": content_sha256(file)}
        job = InferenceJob(engine=engine.name, model="tiny-residual", data="stripes", samples=tuple(range(SAMPLES)),
                           **{"inputs": tiny.INPUTS, "outputs": ("logits",), "task": "predict", "batch": 5, **source,
                              **more})
        assert bool(engine.refuse(job)) == refused
        return job

    def start(self, engine: Engine, job: InferenceJob, *program: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "job.json").write_text(job.to_json())
        path = os.pathsep.join(map(str, (linked_sources(), PLUGINS)))
        argv = [*engine.command(job, str(self.python(engine.name))), *program, "job.json", "."]
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False,
                              env={**os.environ, **engine.variables(job), "PYTHONPATH": path,
                                   "DLCOMPARE_PLUGINS": "tiny", "CUDA_VISIBLE_DEVICES": ""})

    def predicted(self, engine: Engine, model: onnx.ModelProto | None = None,
                  **more: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the logits and what the session said of itself."""
        said = self.result(engine, self.job(engine, model, **more))
        with np.load(self.folder / "predictions.npz") as found:
            return found["output/logits"], said

    def result(self, engine: Engine, job: InferenceJob) -> dict[str, Any]:
        """Return what a job that must end well has found."""
        ended = self.start(engine, job, "-m", WORKER)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found: dict[str, Any] = json.loads((self.folder / rank_file(0)).read_text())
        return found

    def saturating(self, engine: Engine, *, weight_bits: int = 8) -> dict[str, float]:
        """Return what a probe of the engine finds, by layer."""
        job = self.job(engine, question(weight_bits=weight_bits), task="probe", precision="int8", inputs=INPUTS,
                       outputs=tuple(LAYERS))
        found = self.result(engine, job)
        assert found["ran"] == {"precision": "int8", "layers": len(LAYERS), "left": []}, "FP32 has no such products"
        assert found["shares"].keys() == LAYERS.keys()
        return saturating(found["shares"])

    def reason(self, engine: Engine, model: onnx.ModelProto) -> str:
        """Return why the engine does not take a file."""
        job = self.job(engine, model)
        assert self.start(engine, job, "-m", WORKER).returncode != 0
        (word,) = [json.loads(file.read_text()) for file in self.folder.glob("error-*.json")]
        assert word["kind"] == "known", word
        return str(word["message"])


@pytest.fixture
def bench(tmp_path: Path, network: Network, engine_environment: Callable[[str], Path]) -> Bench:
    return Bench(tmp_path, network, engine_environment)


def quantised(network: Network, engine: Engine, *, scheme: str | None = None, **how: Any) -> onnx.ModelProto:
    """Return the network in INT8 with the ranges that the samples have."""
    import onnxruntime

    names = activation_tensors(network.model)
    session = onnxruntime.InferenceSession(instrument(network.model, names).SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    seen = dict(zip(names, session.run(names, {"image": network.images}), strict=True))
    ranges = {name: (float(value.min()), float(value.max())) for name, value in seen.items()}
    return quantise(network.model, ranges, scheme=scheme or str(engine.scheme), **how)


def exact(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Return the logits in the file's own arithmetic: unfused, Q and DQ round and all between is FP32."""
    import onnxruntime

    how = onnxruntime.SessionOptions()
    how.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), how, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": images})[0])


def noise(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", ENGINES)
def test_fp32_is_the_oracles_network_and_fp32_throughout(name: str, bench: Bench) -> None:
    """Also that a short batch may follow a full one, and that an engine's default is not taken for FP32: BF16 is
    a thousand times farther off."""
    engine = plugins().engine(name)
    logits, said = bench.predicted(engine)
    assert logits.shape == (SAMPLES, 10)
    assert noise(logits, bench.network.logits) < 1e-5
    assert said["ran"]["precision"] == "fp32" and said["ran"]["left"] == []
    assert said["ran"]["layers"] == (COUNT if engine.reads == "onnx" else 0), "a framework does not tell"
    assert said["settings"]["own"]["threads"] == 1 and said["versions"]


@pytest.mark.parametrize("name", INT8)
def test_int8_is_int8_in_every_layer(name: str, bench: Bench) -> None:
    engine = plugins().engine(name)
    bits = 7 if name in UNSIGNED and bench.saturating(engine) else 8
    logits, said = bench.predicted(engine, quantised(bench.network, engine, weight_bits=bits), precision="int8")
    assert 1e-4 < noise(logits, bench.network.logits) < 0.05
    assert said["ran"] == {"precision": "int8", "layers": COUNT, "left": []}


@pytest.mark.parametrize("name", UNSIGNED)
def test_a_probe_tells_whether_an_engine_computes_what_a_file_says(name: str, bench: Bench) -> None:
    """On any CPU: where the probe finds sums to saturate the file is computed wrongly, where not rightly, and with
    weights of seven bits rightly everywhere."""
    engine, network = plugins().engine(name), bright(bench.network)
    right = {}
    for bits in (8, 7):
        model = quantised(network, engine, weight_bits=bits)
        logits, _ = bench.predicted(engine, model, precision="int8")
        right[bits] = noise(logits, exact(model, network.images)) < 0.02
    assert right == {8: not bench.saturating(engine), 7: True}
    assert not bench.saturating(engine, weight_bits=7)


def bright(network: Network) -> Network:
    """Return the network with convolutions that average, so that neighbouring products are both large."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            even = np.full(tensor.dims, 1 / np.prod(tensor.dims[1:]), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(even, tensor.name))
    return network._replace(model=model)


@pytest.mark.parametrize("name", INT8)
def test_layers_left_in_fp32_are_named_as_the_network_names_them(name: str, bench: Bench) -> None:
    engine = plugins().engine(name)
    model = quantised(bench.network, engine, exclude={"relu2"})
    _, said = bench.predicted(engine, model, precision="int8")
    assert "conv3" in layers_left(model), "or there is nothing to name"
    assert sorted(said["ran"]["left"]) == sorted(layers_left(model)) and said["ran"]["layers"] == COUNT


@pytest.mark.parametrize("name", INT8)
def test_what_int8_leaves_is_computed_in_fp32(name: str, bench: Bench) -> None:
    """Not in what an engine likes better: all layers of a file that has nothing quantised are left."""
    logits, said = bench.predicted(plugins().engine(name), precision="int8")
    assert noise(logits, bench.network.logits) < 1e-5
    assert said["ran"]["precision"] == "fp32" and len(said["ran"]["left"]) == COUNT


def test_onnxruntime_says_what_its_profile_says(bench: Bench, tmp_path: Path) -> None:
    """TensorRT's way of writing INT8 makes it leave convolutions in FP32 without a word."""
    import onnxruntime

    engine = plugins().engine("onnxruntime")
    model = quantised(bench.network, engine, scheme="s8s8")
    assert not violations(model), "a file that TensorRT takes"
    logits, said = bench.predicted(engine, model, precision="int8")
    how = onnxruntime.SessionOptions()
    how.enable_profiling, how.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), how, providers=["CPUExecutionProvider"])
    session.run(None, {"image": bench.network.images})
    nodes = [event["args"]["op_name"] for event in json.loads(Path(session.end_profiling()).read_text())
             if event["cat"] == "Node"]
    floats = sum(nodes.count(kind) for kind in ("Conv", "FusedConv", "Gemm", "MatMul"))
    assert 0 < floats == len(said["ran"]["left"]) and set(said["ran"]["left"]) <= {"conv1", "conv2", "conv3", "fc"}
    assert noise(logits, bench.network.logits) < 0.05


def test_onnxruntime_refuses_fp16_on_a_cpu_for_a_reason(bench: Bench) -> None:
    """If this fails it has got kernels: offer fp16 then."""
    engine = plugins().engine("onnxruntime")
    _, said = bench.predicted(engine, lower(bench.network.model, "fp16"), precision="fp16", refused=True)
    assert said["ran"]["precision"] == "fp32"
    assert said["ran"]["layers"] == len(said["ran"]["left"]) == COUNT


def test_openvinos_bf16_is_asked_for_and_seen(bench: Bench) -> None:
    engine = plugins().engine("openvino")
    if reason := engine.refuse(InferenceJob("openvino", "tiny-residual", file="x", precision="bf16")):
        pytest.skip(reason)
    logits, said = bench.predicted(engine, lower(bench.network.model, "bf16"), precision="bf16")
    assert 1e-4 < noise(logits, bench.network.logits) < 0.05
    assert said["ran"]["precision"] == "bf16"


def test_openvino_cannot_send_anything(engine_environment: Callable[[str], Path]) -> None:
    code = "import importlib.util as u, openvino; print(u.find_spec('openvino_telemetry'))"
    assert subprocess.run([engine_environment("openvino"), "-c", code], capture_output=True, text=True,
                          check=True).stdout == "None\n"


@pytest.mark.parametrize("name", READING_ONNX)
def test_an_operator_that_does_not_exist_is_named(name: str, bench: Bench) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(bench.network.model)
    model.graph.node.insert(0, helper.make_node("Imaginary", ["image"], ["strange"], name="strange"))
    model.graph.node[1].input[0] = "strange"
    reason = bench.reason(plugins().engine(name), model)
    assert "Imaginary" in reason and "network.onnx" in reason


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", READING_ONNX)
def test_threads_are_as_many_as_were_asked_for_and_end_with_the_session(name: str, threads: int,
                                                                        bench: Bench) -> None:
    engine = plugins().engine(name)
    job = bench.job(engine, threads=threads, batch=128)
    ended = bench.start(engine, job, str(Path(__file__).with_name("engine_probe.py")))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["busy"] == threads and found["after_close"] <= 2, "hundredths of a second, of fifty"
