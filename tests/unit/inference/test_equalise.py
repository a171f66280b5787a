"""Equalised networks compute what they did, with channels that are alike; nothing else is touched."""

from __future__ import annotations

from functools import cache

import int8
import numpy as np
import onnx
import pytest
from onnx import helper

from dlcompare.inference.onnx.wiring import Wiring, output_axis
from dlcompare.inference.precision.equalise import chains, equalise


@cache
def network(name: str) -> onnx.ModelProto:
    return int8.network(name, 32)


def named(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(chain.first.name, chain.second.name) for chain in chains(Wiring.of(model))]


def spans(wiring: Wiring, node: onnx.NodeProto, axis: int) -> np.ndarray:
    weight = np.moveaxis(wiring.value(node.input[1]), axis, 0)
    return np.abs(weight.reshape(len(weight), -1)).max(axis=1)


def test_chains_are_layers_that_nothing_else_reads() -> None:
    assert named(int8.residual()) == [("conv2", "conv3")]  # conv1 is read by the addition too
    found = named(network("resnet50"))
    assert len(found) == 32 and ("layer1.0.conv1", "layer1.0.conv2") in found
    assert not [pair for pair in found if "downsample" in pair[0] + pair[1] or "conv3" in pair[0]]


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_the_function_stays_the_same(name: str) -> None:
    model = network(name)
    image = int8.images(model, 4)
    before = int8.run(model, image)
    made = equalise(model)
    changed = [a.name for a, b in zip(model.graph.initializer, made.graph.initializer, strict=True) if a != b]
    assert changed, "it did something"
    assert int8.sqnr(before, int8.run(made, image)) > 90
    assert made.graph.node == model.graph.node
    layers = [node for chain in chains(Wiring.of(model)) for node in (chain.first, chain.second)]
    chained = {name for node in layers for name in node.input}
    assert set(changed) <= chained


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_channels_go_out_and_come_in_at_the_same_size(name: str) -> None:
    wiring = Wiring.of(equalise(network(name)))
    for chain in chains(wiring):
        out = spans(wiring, chain.first, output_axis(chain.first))
        into = spans(wiring, chain.second, 1 - output_axis(chain.second))
        np.testing.assert_allclose(out, into, rtol=0.05)


def flattened() -> onnx.ModelProto:
    """A convolution, an activation, a pooling, and a dense layer that reads 4 pixels of each channel."""
    random = np.random.default_rng(0)
    factor = 10.0 ** np.arange(-2, 2)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "v", "d"], ["g"], name="dense", transB=1),
             helper.make_node("Gemm", ["g", "u"], ["y"], name="last")]
    drawn = {"w": random.standard_normal((4, 3, 3, 3)) * factor[:, None, None, None], "b": random.standard_normal(4),
             "v": random.standard_normal((5, 16)), "d": random.standard_normal(5), "u": random.standard_normal((5, 6))}
    return int8.built(nodes, {name: value.astype(np.float32) for name, value in drawn.items()},
                      inputs={"x": ["N", 3, 6, 6]}, outputs=["y"])


def test_dense_layers_are_equalised_through_a_change_of_shape() -> None:
    model = flattened()
    assert named(model) == [("conv", "dense"), ("dense", "last")]
    made, image = equalise(model), int8.images(model, 5)
    np.testing.assert_allclose(int8.run(made, image), int8.run(model, image), rtol=1e-4, atol=1e-4)
    wiring = Wiring.of(made)
    first, second = (next(n for n in wiring.nodes if n.name == name) for name in ("conv", "dense"))
    np.testing.assert_allclose(spans(wiring, first, 0), spans(wiring, second, 1).reshape(4, 4).max(axis=1), rtol=0.01)


@pytest.mark.parametrize("how", ["grouped", "read twice", "an output", "shared", "sigmoid"])
def test_what_would_change_the_function_is_no_chain(how: str) -> None:
    random = np.random.default_rng(1)
    kernel = random.standard_normal((4, 1 if how == "grouped" else 4, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], name="first", group=4 if how == "grouped" else 1),
             helper.make_node("Sigmoid" if how == "sigmoid" else "Relu", ["a"], ["r"]),
             helper.make_node("Conv", ["r", "w" if how == "shared" else "v"], ["y"], name="second",
                              group=4 if how == "grouped" else 1),
             *([helper.make_node("Relu", ["r"], ["z"])] if how == "read twice" else [])]
    outputs = {"read twice": ["y", "z"], "an output": ["y", "r"]}.get(how, ["y"])
    model = int8.built(nodes, {"w": kernel, **({} if how == "shared" else {"v": kernel * 3})},
                       inputs={"x": ["N", 4, 5, 5]}, outputs=outputs)
    assert named(model) == [] and equalise(model) == model


def test_a_layer_in_groups_may_come_first() -> None:
    random = np.random.default_rng(2)
    drawn = {"u": (4, 3, 1, 1), "w": (4, 1, 3, 3), "v": (6, 4, 1, 1)}
    nodes = [helper.make_node("Conv", ["x", "u"], ["a"], name="wide"),
             helper.make_node("Conv", ["a", "w"], ["b"], name="depthwise", group=4),
             helper.make_node("Relu", ["b"], ["r"]), helper.make_node("Conv", ["r", "v"], ["y"], name="pointwise")]
    model = int8.built(nodes, {name: random.standard_normal(shape).astype(np.float32) for name, shape in drawn.items()},
                       inputs={"x": ["N", 3, 6, 6]}, outputs=["y"])
    assert named(model) == [("depthwise", "pointwise")]
    made, image = equalise(model), int8.images(model, 5)
    assert made != model
    np.testing.assert_allclose(int8.run(made, image), int8.run(model, image), rtol=1e-4, atol=1e-4)


def test_a_channel_that_is_never_anything_stays_so() -> None:
    model = flattened()
    weight = next(t for t in model.graph.initializer if t.name == "w")
    value = onnx.numpy_helper.to_array(weight).copy()
    value[2] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(value, "w"))
    made, image = equalise(model), int8.images(model, 5)
    np.testing.assert_allclose(int8.run(made, image), int8.run(model, image), rtol=1e-4, atol=1e-4)
