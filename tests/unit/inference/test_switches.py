"""What rounding and clipping one tensor cost is measured in the network's answers, each by itself."""

from __future__ import annotations

import int8
import numpy as np
import onnx
import pytest
from onnx import helper

from dlcompare.inference.onnx.multiply_adds import multiply_adds, share
from dlcompare.inference.onnx.wiring import Wiring
from dlcompare.inference.precision.quantise import activation_tensors, quantise
from dlcompare.inference.precision.ranges import ranges
from dlcompare.inference.precision.switches import clipped, layers, switched

MODEL = int8.residual()
IMAGES = int8.images(MODEL, 12)
ARTIFACT = int8.calibrated(MODEL, IMAGES)


def answers(model: object, on: str = "") -> np.ndarray:
    one = int8.session(model, level="DISABLE_ALL")  # type: ignore[arg-type]
    feeds = {value.name: np.full(1, value.name == on, np.float32) for value in one.get_inputs()}
    return np.asarray(one.run(None, feeds | {"image": IMAGES})[0])


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8"])
def test_with_all_switched_off_the_network_is_as_it_was_and_each_switch_changes_it(scheme: str) -> None:
    found = ranges(ARTIFACT, "percentile", percentile=99, scheme=scheme, whole=("image",))
    made = switched(MODEL, found, clipped(ARTIFACT, found), scheme=scheme)
    before = int8.run(MODEL, IMAGES, level="DISABLE_ALL")
    assert np.array_equal(answers(made), before)
    names = [value.name for value in made.graph.input][1:]
    activations = {name.rpartition("/")[0] for name in names if not name.endswith("/weights")}
    assert activations == set(activation_tensors(MODEL))
    assert "image/clipping" not in names and "relu2/clipping" in names
    for name in ["relu2/clipping", *(name for name in names if name.endswith("rounding"))]:
        assert 10 < int8.sqnr(before, answers(made, name)) < 100, name


def test_a_range_that_is_too_small_is_seen_as_clipping_and_one_too_large_as_rounding() -> None:
    found = ranges(ARTIFACT, "minmax")
    assert not clipped(ARTIFACT, found)
    low, high = found["relu2"]
    rounding, clipping = {}, {}
    for factor in (0.1, 1.0, 50.0):
        changed = {**found, "relu2": (low * factor, high * factor)}
        made = switched(MODEL, changed, clipped(ARTIFACT, changed), scheme="u8s8")
        rounding[factor] = int8.sqnr(answers(made), answers(made, "relu2/rounding"))
        if "relu2" in clipped(ARTIFACT, changed):
            clipping[factor] = int8.sqnr(answers(made), answers(made, "relu2/clipping"))
    assert list(clipping) == [0.1] and clipping[0.1] < 15
    assert rounding[0.1] > rounding[1.0] > 40 and rounding[50.0] < rounding[1.0] - 20


@pytest.mark.parametrize("bits", [8, 7])
def test_weights_are_switched_to_what_the_int8_file_holds_layer_by_layer(bits: int) -> None:
    found = ranges(ARTIFACT, "minmax")
    made = switched(MODEL, found, set(), scheme="u8s8", bits=bits)
    before = answers(made)
    noise = {name: int8.sqnr(before, answers(made, name)) for name in
             (value.name for value in made.graph.input) if name.endswith("/weights")}
    read = layers(Wiring.of(MODEL), "u8s8")
    assert {name.removesuffix("/weights") for name in noise} == set(read) and read["conv1"] == "image"
    for layer in ("conv1", "logits"):
        changed = onnx.ModelProto()
        changed.CopyFrom(MODEL)
        wiring = Wiring.of(quantise(MODEL, found, scheme="u8s8", weight_bits=bits))
        name = next(node.input[1] for node in MODEL.graph.node if layer in node.output)
        held, scale = (wiring.value(f"{layer}/weight/{part}") for part in ("quantised", "scale"))
        weight = next(tensor for tensor in changed.graph.initializer if tensor.name == name)
        axes = (-1, *[1] * (held.ndim - 1))
        weight.CopyFrom(onnx.numpy_helper.from_array((held * scale.reshape(axes)).astype(np.float32), name))
        assert int8.sqnr(before, int8.run(changed, IMAGES, level="DISABLE_ALL")) == pytest.approx(
            noise[f"{layer}/weights"], abs=0.01)


def test_multiply_adds_are_counted_by_layer() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
             helper.make_node("Flatten", ["c"], ["f"]), helper.make_node("Gemm", ["f", "m"], ["y"], name="gemm")]
    made = int8.built(nodes, {"w": np.ones((4, 3, 3, 3), np.float32), "m": np.ones((4 * 8 * 8, 5), np.float32)},
                      inputs={"x": ["N", 3, 8, 8]}, outputs=["y"])
    found = multiply_adds(made)
    assert found == {("conv", "c"): 4 * 8 * 8 * 27, ("gemm", "y"): 4 * 8 * 8 * 5}
    assert share(found, []) == 1 and share(found, ["conv", "y"]) == 0
    assert share(found, ["y"]) == share(found, ["gemm"]) == pytest.approx(27 / 32)
