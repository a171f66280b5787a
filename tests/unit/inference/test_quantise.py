"""Quantised networks answer nearly as before, run wholly in eight bits on onnxruntime, and leave out what is excluded.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import int8
import numpy as np
import onnx
import pytest
from onnx import helper

from dlcompare.core.errors import UsageError
from dlcompare.inference.onnx.wiring import Wiring
from dlcompare.inference.precision.equalise import equalise
from dlcompare.inference.precision.histograms import Artifact
from dlcompare.inference.precision.quantise import activation_tensors, layers_left, quantise
from dlcompare.inference.precision.ranges import RULES, SCHEMES, ranges
from dlcompare.inference.precision.sensitivity import neighbours, ranking

NETWORKS = {"tiny-residual": None, "resnet18": 32, "resnet50": 32, "bert-tiny": None}
CHAINS = ["layer1.0.conv1", "layer2.1.conv1", "layer4.0.conv1"]


@cache
def model(name: str) -> onnx.ModelProto:
    return int8.residual() if name == "tiny-residual" else int8.network(name, NETWORKS[name])


@cache
def image(name: str) -> np.ndarray:
    return int8.images(model(name), 12)


@cache
def seen(name: str) -> Artifact:
    return int8.calibrated(model(name), image(name))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("name", "rule"), [*((name, rule) for name in ("tiny-residual", "resnet18") for rule in RULES),
                                            pytest.param("resnet50", "entropy", marks=pytest.mark.slow)])
def test_answers_are_nearly_those_of_fp32(name: str, rule: str, scheme: str) -> None:
    made = quantise(model(name), ranges(seen(name), rule, scheme=scheme), scheme=scheme)
    onnx.checker.check_model(made, full_check=True)
    before = int8.run(model(name), image(name))
    emulated = int8.run(made, image(name), level="DISABLE_ALL")
    assert int8.sqnr(before, emulated) > 22
    assert layers_left(made) == [] != layers_left(model(name))


@pytest.mark.parametrize("name", ["tiny-residual", "resnet18"])
def test_with_weights_of_seven_bits_the_kernels_of_every_cpu_do_what_the_file_says(name: str) -> None:
    made = quantise(model(name), ranges(seen(name), "entropy"), scheme="u8s8", weight_bits=7)
    emulated = int8.run(made, image(name), level="DISABLE_ALL")
    assert int8.sqnr(emulated, int8.run(made, image(name))) > 30
    assert int8.sqnr(int8.run(model(name), image(name)), emulated) > 20


@pytest.mark.parametrize("name", ["tiny-residual", "resnet18", "resnet50"])
def test_onnxruntime_computes_everything_in_eight_bits(name: str, tmp_path: Path) -> None:
    made = quantise(model(name), ranges(seen(name), "entropy"), scheme="u8s8")
    int8.session(made, optimised=str(tmp_path / "ran.onnx"))
    ran = Counter(node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node)
    kinds = Counter(node.op_type for node in model(name).graph.node)
    assert ran["QLinearConv"] == kinds["Conv"] and ran["QGemm"] == kinds["Gemm"] and ran["QLinearAdd"] == kinds["Add"]
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Relu", "MatMul"} & ran.keys()
    assert ran["QuantizeLinear"] == 1 and "DequantizeLinear" not in ran  # the image; logits come float out of QGemm


def test_what_reads_sequences_is_quantised_where_it_has_weights() -> None:
    made = model("bert-tiny")
    ids = np.random.default_rng(0).integers(0, 100, (4, 16))
    tensors, feeds = activation_tensors(made), {}
    one = int8.session(int8.instrument(made, tensors))
    for spec in one.get_inputs():
        feeds[spec.name] = np.ones_like(ids) if "mask" in spec.name else ids % (2 if "type" in spec.name else 100)
    collector = int8.Collector(tensors)
    collector.add(dict(zip(tensors, one.run(tensors, feeds), strict=True)), samples=range(4))
    quantised = quantise(made, ranges(collector.artifact({}), "minmax"), scheme="u8s8")
    left = layers_left(quantised)
    assert left and all(name.endswith(("/product", "/mixed")) for name in left), "attention multiplies activations"
    assert len(left) < len(layers_left(made)) / 2
    before, after = (int8.exact(m, feeds)[0] for m in (made, quantised))
    assert int8.sqnr(before, after) > 15


def test_tensors_after_a_relu_stand_for_what_is_before() -> None:
    assert activation_tensors(model("tiny-residual")) == [
        "image", "relu1", "relu2", "conv3", "relu3", "avgpool"]  # not conv1, conv2, sum, maxpool, flatten


def quantised_in(made: onnx.ModelProto) -> set[str]:
    return {node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"}


def test_tensorrt_gets_no_pair_before_a_fused_addition_nor_on_biases() -> None:
    name = "tiny-residual"
    made = quantise(model(name), ranges(seen(name), "minmax"), scheme="s8s8")
    weights = {"conv1.weight", "conv2.weight", "conv3.weight", "fc.weight"}
    assert quantised_in(made) == weights | {"image", "maxpool", "relu2", "relu3", "flatten"}
    wiring = Wiring.of(made)
    assert [kind(wiring, n) for n in wiring.producers["sum"].input] == ["Conv", "DequantizeLinear"]
    assert wiring.producers["conv2"].input[2] == "conv2.bias"


def kind(wiring: Wiring, tensor: str) -> str:
    return wiring.producers[tensor].op_type


def test_ranges_become_scales_and_zero_points() -> None:
    name = "tiny-residual"
    found = ranges(seen(name), "minmax") | {"image": (-1.0, 3.0), "relu1": (0.0, 5.1), "relu2": (0.0, 0.0)}
    held = {}
    for scheme in SCHEMES:
        made = quantise(model(name), found, scheme=scheme)
        held[scheme] = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    assert held["u8s8"]["image/scale"] == pytest.approx(4 / 255) and held["u8s8"]["image/zero_point"] == 64
    assert held["s8s8"]["image/scale"] == pytest.approx(3 / 127) and held["s8s8"]["image/zero_point"] == 0
    assert held["u8s8"]["relu1/scale"] == pytest.approx(0.02) and held["u8s8"]["relu1/zero_point"] == 0
    assert held["u8s8"]["relu1/zero_point"].dtype == np.uint8 and held["s8s8"]["relu1/zero_point"].dtype == np.int8
    assert held["u8s8"]["relu2/scale"] == 1
    weight, integers = (held[s][k] for s, k in (("s8s8", "fc.weight"), ("u8s8", "logits/weight/quantised")))
    scale = np.abs(weight).max(axis=1) / 127
    assert np.array_equal(held["s8s8"]["logits/weight/scale"], scale)
    assert integers.dtype == np.int8 and np.abs(integers).max(axis=1).tolist() == [127] * 10


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_of_seven_bits_reach_as_far_in_half_the_levels(scheme: str) -> None:
    name = "tiny-residual"
    made = {bits: quantise(model(name), ranges(seen(name), "minmax"), scheme=scheme, weight_bits=bits)
            for bits in (8, 7)}
    held = {bits: {t.name: onnx.numpy_helper.to_array(t) for t in one.graph.initializer} for bits, one in made.items()}
    for layer in ("conv1", "conv3", "logits"):
        assert held[7][f"{layer}/weight/scale"] == pytest.approx(held[8][f"{layer}/weight/scale"] * 127 / 64)
    if scheme == "u8s8":
        integers = [value for key, value in held[7].items() if key.endswith("/weight/quantised")]
        assert len(integers) == 4 and {int(np.abs(value).max()) for value in integers} == {64}
        assert 2 * 255 * max(np.abs(value).max().astype(int) for value in integers) < 2**15, "a pair fits 16 bits"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dead", [0.0, 1e-30])
def test_a_dead_channel_keeps_its_bias(scheme: str, dead: float) -> None:
    """Batch norm folded over a channel that is never anything leaves weights of nearly nothing, and a bias."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((4, 3, 3, 3)).astype(np.float32)
    weight[2] *= dead
    bias = np.array([0.1, -0.2, 7.0, 0.0], np.float32)
    made = int8.built([helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv", pads=[1, 1, 1, 1])],
                      {"w": weight, "b": bias}, inputs={"x": ["N", 3, 8, 8]}, outputs=["y"])
    x = random.standard_normal((2, 3, 8, 8)).astype(np.float32)
    quantised = quantise(made, ranges(int8.calibrated(made, x), "minmax"), scheme=scheme)
    (after,) = int8.exact(quantised, {"x": x})
    assert after[:, 2] == pytest.approx(7.0, abs=0.06)
    assert int8.sqnr(int8.run(made, x), after) > 30


def test_a_convolution_runs_in_eight_bits_whoever_else_reads_it(tmp_path: Path) -> None:
    """A kernel makes eight bits or float, not both: all readers get what was quantised, and so does the caller."""
    random = np.random.default_rng(3)
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Conv", ["r", "w"], ["y"], name="second"), helper.make_node("Sigmoid", ["r"], ["z"])]
    made = int8.built(nodes, {"w": random.standard_normal((3, 3, 1, 1)).astype(np.float32)},
                      inputs={"x": ["N", 3, 8, 8]}, outputs=["y", "z"])
    x = random.standard_normal((2, 3, 8, 8)).astype(np.float32)
    quantised = quantise(made, ranges(int8.calibrated(made, x), "minmax"), scheme="u8s8")
    assert [value.name for value in quantised.graph.output] == ["y", "z"]
    int8.session(quantised, optimised=str(tmp_path / "ran.onnx"))
    ran = Counter(node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node)
    assert ran["QLinearConv"] == 2 and not {"Conv", "FusedConv"} & ran.keys()
    for before, after in zip(int8.exact(made, {"x": x}), int8.exact(quantised, {"x": x}), strict=True):
        assert int8.sqnr(before, after) > 30


@pytest.mark.parametrize(("axes", "columns"), [({"transB": 1}, False), ({}, True)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_dense_layers_are_quantised_along_their_outputs(axes: dict[str, int], columns: bool, scheme: str) -> None:
    random = np.random.default_rng(2)
    weight = random.standard_normal((6, 16)).astype(np.float32) * (10.0 ** np.arange(6))[:, None].astype(np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["g"], name="gemm", **axes),
             helper.make_node("MatMul", ["x", "m"], ["y"], name="matmul")]
    made = int8.built(nodes, {"w": weight.T.copy() if columns else weight, "b": np.ones(6, np.float32),
                              "m": weight.T.copy()}, inputs={"x": ["N", 16]}, outputs=["g", "y"])
    x = random.standard_normal((20, 16)).astype(np.float32)
    quantised = quantise(made, ranges(int8.calibrated(made, x), "minmax"), scheme=scheme)
    for before, after in zip(int8.exact(made, {"x": x}), int8.exact(quantised, {"x": x}), strict=True):
        for channel in range(6):  # by tensor, the small ones would be gone
            assert int8.sqnr(before[:, channel], after[:, channel]) > 30


def test_an_excluded_tensor_and_the_layers_around_it_stay_float() -> None:
    name = "resnet18"
    found = ranges(seen(name), "minmax")
    tensor = "layer1.0.relu1"
    made = quantise(model(name), found, scheme="u8s8", exclude={tensor})
    assert layers_left(made) == ["layer1.0.conv1", "layer1.0.conv2"] and tensor not in quantised_in(made)
    trt = quantise(model(name), found, scheme="s8s8", exclude={tensor})
    assert layers_left(trt) == ["layer1.0.conv2"] and tensor not in quantised_in(trt)
    for one in (made, trt):
        assert int8.sqnr(int8.run(model(name), image(name)), int8.run(one, image(name), level="DISABLE_ALL")) > 22


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_all_excluded_the_network_is_as_it_was(scheme: str) -> None:
    name = "resnet18"
    made = quantise(model(name), {}, scheme=scheme, exclude=activation_tensors(model(name)))
    assert made == model(name)


def test_the_original_is_not_touched() -> None:
    before = model("tiny-residual").SerializeToString()
    quantise(model("tiny-residual"), ranges(seen("tiny-residual"), "mse"), scheme="u8s8")
    assert model("tiny-residual").SerializeToString() == before


def test_what_cannot_be_is_refused() -> None:
    made, found = model("tiny-residual"), ranges(seen("tiny-residual"), "minmax")
    with pytest.raises(UsageError, match="unknown scheme 's8'"):
        quantise(made, found, scheme="s8")
    with pytest.raises(UsageError, match="take 8 or 7 bits, not 6"):
        quantise(made, found, scheme="u8s8", weight_bits=6)
    with pytest.raises(UsageError, match=r"unknown activation tensor 'relu'.*Did you mean 'relu"):
        quantise(made, found, scheme="u8s8", exclude={"relu"})
    with pytest.raises(UsageError, match="no range for the tensor 'conv3'"):
        quantise(made, {name: one for name, one in found.items() if name != "conv3"}, scheme="u8s8")
    old = onnx.ModelProto()
    old.CopyFrom(made)
    old.opset_import[0].version = 12
    with pytest.raises(UsageError, match="opset 13 or newer"):
        quantise(old, found, scheme="u8s8")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_spoiled_network_collapses_is_told_and_is_repaired(scheme: str) -> None:
    spoiled, x = int8.spoil(model("resnet18"), CHAINS), image("resnet18")
    before = int8.run(spoiled, x)
    assert np.allclose(before, int8.run(model("resnet18"), x), rtol=1e-4, atol=1e-5), "FP32 does not show it"

    artifact = int8.calibrated(spoiled, x)
    found = ranges(artifact, "minmax")
    worst = [name for name, _ in ranking(artifact, found, scheme=scheme)]
    tampered = {name.replace("conv1", "relu1") for name in CHAINS}
    assert set(worst[:3]) == tampered
    errors = dict(ranking(artifact, found, scheme=scheme))
    assert min(errors[name] for name in tampered) > 4 * errors[worst[3]]

    collapsed = int8.sqnr(before, int8.run(quantise(spoiled, found, scheme=scheme), x, level="DISABLE_ALL"))
    assert collapsed < 12
    kept = quantise(spoiled, found, scheme=scheme, exclude=tampered)
    assert int8.sqnr(before, int8.run(kept, x, level="DISABLE_ALL")) > 22

    repaired = equalise(spoiled)
    again = quantise(repaired, ranges(int8.calibrated(repaired, x), "minmax"), scheme=scheme)
    assert int8.sqnr(before, int8.run(again, x, level="DISABLE_ALL")) > 22


def test_neighbours_are_the_tensors_before_and_after() -> None:
    made = model("tiny-residual")
    assert neighbours(made, "relu2") == {"relu1", "relu2", "conv3"}
    assert neighbours(made, "conv3") == {"relu2", "conv3", "relu3"}
    assert neighbours(made, "image") == {"image", "relu1"}
    assert neighbours(made, "relu1") == {"image", "relu1", "relu2", "relu3"}
