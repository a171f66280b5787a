"""Channels far larger than others move into weights, and the network computes what it did."""

from __future__ import annotations

from pathlib import Path

import int8
import numpy as np
import onnx
from in_process import Bench
from onnx import helper

from dlcompare.core.graph import Input
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.onnx.network import Network
from dlcompare.inference.precision.balance import balance
from dlcompare.inference.precision.histograms import Artifact
from dlcompare.inference.precision.quantise import activation_tensors, quantise
from dlcompare.inference.precision.ranges import ranges
from dlcompare.inference.preparation.exact import Exact
from dlcompare.inference.preparation.model_files import Files

FEATURES = 24
RANDOM = np.random.default_rng(0)


def transformer() -> onnx.ModelProto:
    """Return two dense layers that read one normalised sequence, beside an addition that does too, and a third.

    Three of the channels are a hundred times larger than the others, and the weights that they meet smaller.
    """
    large = np.where(np.arange(FEATURES) < 3, 100.0, 1.0).astype(np.float32)

    def weight(scale: np.ndarray | float = 1.0) -> np.ndarray:
        found = RANDOM.standard_normal((FEATURES, FEATURES)) * np.reshape(scale, (-1, 1)) / 5
        return np.asarray(found, np.float32)

    nodes = [helper.make_node("Mul", ["x", "large"], ["norm"], name="norm"),
             helper.make_node("MatMul", ["norm", "q"], ["query"], name="query"),
             helper.make_node("MatMul", ["norm", "k"], ["key"], name="key"),
             helper.make_node("Mul", ["query", "key"], ["both"]), helper.make_node("Tanh", ["both"], ["bounded"]),
             helper.make_node("MatMul", ["bounded", "o"], ["out"], name="out"),
             helper.make_node("Div", ["norm", "large"], ["small"]), helper.make_node("Add", ["out", "small"], ["y"])]
    return int8.built(nodes, {"large": large, "q": weight(1 / large), "k": weight(1 / large), "o": weight()},
                      inputs={"x": ["N", 6, FEATURES]}, outputs=["y"])


MODEL = transformer()
GIVEN, HELD = (RANDOM.standard_normal((number, 6, FEATURES)).astype(np.float32) for number in (40, 16))


def calibrated(model: onnx.ModelProto) -> Artifact:
    return int8.calibrated(model, GIVEN)


def noise(model: onnx.ModelProto) -> float:
    made = quantise(model, ranges(calibrated(model), "minmax"), scheme="u8s8")
    (answer,) = int8.exact(made, {"x": HELD})
    return int8.sqnr(int8.run(MODEL, HELD), answer)


def test_the_function_stays_the_same_and_its_int8_has_far_less_noise() -> None:
    made = balance(MODEL, calibrated(MODEL))
    assert made is not None
    assert np.allclose(int8.run(made, HELD), int8.run(MODEL, HELD), atol=1e-4)
    assert {"norm/balanced", "bounded/balanced"} <= set(activation_tensors(made)) and "norm" in {
        name for node in made.graph.node if node.op_type == "Div" for name in node.input}
    assert noise(made) > noise(MODEL) + 15


def test_a_channel_that_holds_nothing_keeps_its_weights() -> None:
    seen = calibrated(MODEL)
    seen.tensors["norm"].channels[5] = 0
    made = balance(MODEL, seen)
    assert made is not None and np.isfinite(int8.run(made, HELD)).all()
    weights = [{t.name: onnx.numpy_helper.to_array(t) for t in one.graph.initializer}["q"] for one in (made, MODEL)]
    assert np.array_equal(weights[0][5], weights[1][5]) and not np.array_equal(weights[0][4], weights[1][4])


def test_a_convolutional_network_is_left_as_it_is() -> None:
    model = int8.residual()
    assert balance(model, int8.calibrated(model, int8.images(model, 4))) is None


def files(folder: Path, model: onnx.ModelProto, rule: str) -> Files:
    """Return the files of a run that calibrates with what was given."""
    network = Network("mine", "outputs", {"x": Input((6, FEATURES), "float32", "given")}, ("y",), model, None, None,
                      None, None, "", trained=True)

    def collect(file: Path, tensors: tuple[str, ...], sha256: str) -> Path:
        found = calibrated(onnx.load(file.with_name("calibrated.onnx")))
        Artifact(found.tensors, {**found.meta, "sha256": sha256}).save(folder / "calibration.npz")
        return folder / "calibration.npz"

    plan = InferenceRequest(engines=("onnxruntime",), calibrator=rule)
    return Files(folder / "models", network, plan, collect, lambda _: 8, Exact(Bench(folder, HELD)))


def test_auto_balances_where_that_does_best_on_samples_held_back(tmp_path: Path) -> None:
    made = files(tmp_path, MODEL, "auto")
    rule = made.rule()
    first, *others = made.judged["ranking"]
    assert first["balanced"] and first["rule"] == rule and len(others) == 7
    assert first["sqnr_db"] > max(one["sqnr_db"] for one in others if not one["balanced"]) + 10
    assert "norm/balanced" in made.artifact.tensors and "norm/balanced" in made.ranges("u8s8", rule)
    assert made.is_balanced and "norm/balanced" in {name for node in made.base.graph.node for name in node.output}


def test_a_rule_that_a_user_names_is_of_the_network_as_it_is(tmp_path: Path) -> None:
    made = files(tmp_path, MODEL, "minmax")
    assert made.rule() == "minmax" and not made.is_balanced and "norm" in made.ranges("u8s8", "minmax")
