"""Exported networks compute what the reference computes in evaluation, and every name in them can be foretold.

Held to 1e-5 of the outputs' norm. A float32 operation rounds by 6e-8 of its result; over the 500 operations of the
deepest model here, as a random walk, that is 1.3e-6, and a convolution's own sum adds a little. An epsilon left out of
the folding moves each layer by 5e-5 at the least, for the running variances drawn here are below 0.1.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from dlcompare.core.conformance.cases import RECIPES, tiny
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.graph.params import initial_params
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins
from dlcompare.frameworks.reference import Reference
from dlcompare.inference.onnx.export import IR_VERSION, OPSET, content_sha256, export, save
from dlcompare.inference.onnx.ops import TABLE
from dlcompare.inference.onnx.read import parse, read

Arrays = dict[str, np.ndarray]
TOLERANCE = 1e-5
MODELS = plugins().models()
IMAGE_SIZE = {"alexnet": 64, "inception_v3": 299}  # the least that fits; the others take 32


def small(name: str) -> Graph:
    """Return the model at a small image size, or with short sequences."""
    model = MODELS[name]
    if "image" in model.inputs:
        return model.graph(IMAGE_SIZE.get(name, 32))
    shorter = {k: dataclasses.replace(v, shape=(8,)) if v.shape else dataclasses.replace(v, high=min(v.high or 8, 8))
               for k, v in model.inputs.items()}
    return dataclasses.replace(model, inputs=shorter).graph()


def drawn(graph: Graph, seed: int = 0) -> Arrays:
    """Return parameters as training leaves them: statistics, scales and shifts that are neither 0 nor 1.

    A batch norm's scale is about the root of its variance, so that deep networks neither vanish nor overflow.
    """
    params, rng = initial_params(graph, seed), np.random.default_rng(seed)
    for node in graph.nodes:
        if node.op == "batch_norm":
            count = node.params["weight"].shape
            var = rng.uniform(0.01, 0.1, count)
            values = {"running_var": var, "weight": np.sqrt(var) * rng.uniform(0.5, 1.2, count),
                      "running_mean": rng.normal(0, 0.1, count), "bias": rng.normal(0, 0.1, count)}
            params |= {node.param_name(k): v.astype(np.float32) for k, v in values.items()}
    return params


def batch_of(graph: Graph, size: int, seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    batch = {k: rng.standard_normal((size, *v.shape)).astype(np.float32) if v.dtype == "float32"
             else rng.integers(0, v.high or 1, (size, *v.shape)) for k, v in graph.inputs.items()}
    for name, given in graph.inputs.items():
        if given.role == "mask":
            batch[name][:, 0] = 1  # a sequence keeps at least one key
    return batch


def run(model: onnx.ModelProto | Path, batch: Mapping[str, np.ndarray]) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(None, {i.name: batch[i.name] for i in session.get_inputs()}), strict=True))


def reference(graph: Graph, params: Arrays, batch: Arrays) -> Arrays:
    found = Reference().trainer(graph, params, Job("reference", graph.name)).predict(batch)
    return {name: value for name, value in found.items() if name != "loss"}


def hold(graph: Graph, params: Arrays, batch: Arrays) -> onnx.ModelProto:
    """Export, let the checker and the reference judge, and return the model."""
    model = export(graph, params)
    onnx.checker.check_model(model, full_check=True)
    found, wanted = run(model, batch), reference(graph, params, batch)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].shape == wanted[name].shape
        assert np.linalg.norm(found[name] - wanted[name]) <= TOLERANCE * np.linalg.norm(wanted[name]), name
    return model


def build(network: Callable[[Tensor], Mapping[str, Tensor]], shape: tuple[int, ...] = (3, 6, 6)) -> Graph:
    """Trace a network of one input, ``x``, with a loss on the side."""
    def whole(x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**network(x), "loss": x.flatten(name="aside").cross_entropy(label, name="loss")}

    return trace("net", whole, {"x": Input(shape), "label": Input((), "int64", "label", 5)})


def nodes(model: onnx.ModelProto) -> dict[str, str]:
    return {node.name: node.op_type for node in model.graph.node}


def contents(model: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    return {t.name: (t.data_type, tuple(t.dims), t.raw_data) for t in model.graph.initializer}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_computes_what_the_reference_computes(name: str) -> None:
    graph = small(name)
    hold(graph, drawn(graph), batch_of(graph, 1 if name == "inception_v3" else 2))


@pytest.mark.parametrize("name", RECIPES)
def test_every_conformance_case_computes_what_the_reference_computes(name: str) -> None:
    case = tiny(name)
    hold(case.graph, case.params, case.batches[0])


def test_every_op_outside_the_loss_is_exported() -> None:
    from dlcompare.core.graph.ops import OPS

    assert set(TABLE) == set(OPS) - {"cross_entropy", "mean_square"}


def test_a_file_takes_batches_of_any_size() -> None:
    graph = small("bert-tiny")
    params = drawn(graph)
    model = export(graph, params)
    for size in (1, 3):
        batch = batch_of(graph, size)
        wanted = reference(graph, params, batch)["start"]
        assert np.linalg.norm(run(model, batch)["start"] - wanted) <= TOLERANCE * np.linalg.norm(wanted)


def test_names_are_those_of_the_neutral_graph() -> None:
    graph = small("resnet18")
    model = export(graph, drawn(graph))
    assert nodes(model).keys() <= {node.name for node in graph.nodes}
    assert all(node.output[0] == {"fc": "logits"}.get(node.name, node.name) for node in model.graph.node)
    named = {tensor.name for tensor in model.graph.initializer}
    weights = {k for k in graph.params() if "bn" not in k and "downsample.1" not in k}
    assert named == weights | {k.replace(".weight", ".bias") for k in weights}
    assert [i.name for i in model.graph.input] == ["image"] and [o.name for o in model.graph.output] == ["logits"]
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)


def test_nothing_superfluous_is_in_the_file() -> None:
    graph = MODELS["resnet50"].graph(64)
    kinds = list(nodes(export(graph, drawn(graph))).values())
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Conv": 53, "Relu": 49, "Add": 16, "MaxPool": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def test_the_parts_of_an_op_bear_its_name() -> None:
    graph = small("bert-tiny")
    model = export(graph, drawn(graph))
    known = {node.name for node in graph.nodes} | set(graph.inputs)
    assert {name.partition("/")[0] for name in nodes(model)} <= known
    assert len(nodes(model)) == len(model.graph.node)
    assert {t.name.partition("/")[0] for t in model.graph.initializer} <= known | set(graph.params())
    assert list(nodes(model).values()).count("Where") == 1  # the mask's bias, shared by the layers


@pytest.mark.slow
def test_what_only_training_needs_is_left_out() -> None:
    graph = small("bert-squad")
    model = export(graph, drawn(graph))
    assert [i.name for i in model.graph.input] == ["input_ids", "token_type_ids", "attention_mask"]
    assert {i.type.tensor_type.elem_type for i in model.graph.input} == {onnx.TensorProto.INT64}
    assert [o.name for o in model.graph.output] == ["start", "end", "pooled"]
    assert not [name for name in nodes(model) if "dropout" in name or "loss" in name]


def _read_twice(x: Tensor) -> dict[str, Tensor]:
    y = x.conv(3, 3, pad=1, name="conv")
    return {"y": y.batch_norm(name="bn").add(y, name="sum")}


def _is_output(x: Tensor) -> dict[str, Tensor]:
    y = x.conv(3, 3, bias=False, name="conv")
    return {"raw": y, "y": y.batch_norm(name="bn")}


def _no_convolution(x: Tensor) -> dict[str, Tensor]:
    return {"y": x.batch_norm(name="bn")}


@pytest.mark.parametrize("network", [_read_twice, _is_output, _no_convolution])
def test_batch_norm_stays_where_it_cannot_be_folded(network: Callable[[Tensor], dict[str, Tensor]]) -> None:
    graph = build(network)
    model = hold(graph, drawn(graph), batch_of(graph, 2))
    assert nodes(model)["bn"] == "BatchNormalization"


def test_folding_keeps_the_convolution_s_own_bias() -> None:
    graph = build(lambda x: {"y": x.conv(4, 3, name="conv").batch_norm(name="bn")})
    params = drawn(graph) | {"conv.bias": np.array([1, -2, 3, -4], np.float32)}
    assert nodes(hold(graph, params, batch_of(graph, 2))) == {"conv": "Conv"}


@pytest.mark.parametrize(("shape", "size", "kind"), [
    ((2, 4, 4), 4, None), ((2, 4, 6), 1, "GlobalAveragePool"), ((2, 4, 6), 2, "AveragePool"),
    ((2, 5, 7), 3, "MatMul"), ((2, 1, 1), 3, "MatMul")])
def test_adaptive_pooling_takes_the_plainest_op(shape: tuple[int, ...], size: int, kind: str | None) -> None:
    graph = build(lambda x: {"y": x.relu(name="relu").adaptive_avg_pool(size, name="pool")}, shape)
    assert nodes(hold(graph, {}, batch_of(graph, 2))).get("pool") == kind


def test_one_tensor_may_be_several_outputs() -> None:
    def network(x: Tensor) -> dict[str, Tensor]:
        y = x.relu(name="relu")
        return {"y": y, "z": y.dropout(0.5, name="dropout"), "same": x, "relu2": y.relu(name="again")}

    graph = build(network)
    model = hold(graph, {}, batch_of(graph, 2))
    assert [o.name for o in model.graph.output] == ["y", "z", "same", "relu2"]


def test_an_output_named_like_another_tensor_is_refused() -> None:
    graph = build(lambda x: {"relu": x.relu(name="relu").tanh(name="tanh")})
    with pytest.raises(UsageError, match=r"output 'relu' of 'net' is the tensor 'tanh'.*give the output or the layer"):
        export(graph, {})


def test_an_output_of_the_loss_is_refused_and_so_is_none_at_all() -> None:
    def network(x: Tensor) -> dict[str, Tensor]:
        return {"again": x.flatten(name="flat").cross_entropy(x.recorder and Tensor("label", (), "int64", x.recorder),
                                                              name="second")}

    with pytest.raises(UsageError, match=r"'second' is a cross_entropy.*it offers: adaptive_avg_pool"):
        export(build(network), {})
    with pytest.raises(UsageError, match="no output but the loss"):
        export(build(lambda x: {}), {})


def test_parameters_that_do_not_fit_are_named() -> None:
    graph = build(lambda x: {"y": x.conv(4, 3, name="conv")})
    with pytest.raises(UsageError, match=r"'conv\.weight' of 'net' is missing"):
        export(graph, {})
    with pytest.raises(UsageError, match=r"'conv\.weight' of 'net' has shape \(4, 3, 1, 1\), not \(4, 3, 3, 3\)"):
        export(graph, {"conv.weight": np.zeros((4, 3, 1, 1)), "conv.bias": np.zeros(4)})


def test_a_saved_model_is_the_model(tmp_path: Path) -> None:
    graph = small("bert-tiny")
    model, batch = export(graph, drawn(graph)), batch_of(graph, 2)
    save(model, tmp_path / "whole.onnx")
    save(model, tmp_path / "split.onnx", limit=10_000)
    first, second = tmp_path / "whole.onnx", tmp_path / "split.onnx"
    (data,) = set(tmp_path.iterdir()) - {first, second}
    assert second.stat().st_size < first.stat().st_size / 4 and data.name.startswith("split.onnx.")
    for path in (first, second):
        found = read(path)
        assert contents(found) == contents(model) and found.graph.node == model.graph.node
        assert all(np.array_equal(v, run(model, batch)[k]) for k, v in run(path, batch).items())
    assert any(t.data_location == t.EXTERNAL for t in parse(second).graph.initializer)


def test_the_hash_is_of_all_that_is_said(tmp_path: Path) -> None:
    graph = small("bert-tiny")
    path = tmp_path / "net.onnx"

    def saved(seed: int) -> str:
        save(export(graph, drawn(graph, seed)), path, limit=10_000)
        return content_sha256(path)

    assert saved(1) == saved(1) != saved(2)
    before = content_sha256(path)
    data = tmp_path / next(e.value for t in parse(path).graph.initializer for e in t.external_data)
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    assert content_sha256(path) != before


@pytest.mark.parametrize("limit", [0, 2**31])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, limit: int) -> None:
    graph = small("bert-tiny")
    path = tmp_path / "net.onnx"
    save(export(graph, drawn(graph, 1)), path, limit=limit)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    code = f"""
import onnx, resource, signal
from dlcompare.inference.onnx.export import save
model = onnx.load({str(path)!r})
model.graph.initializer[0].raw_data = bytes(100_000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
save(model, {str(path)!r}, limit={limit})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_importing_the_exporter_imports_no_onnx() -> None:
    code = "import sys, dlcompare.inference.onnx.export, dlcompare.inference.onnx.read; print('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
