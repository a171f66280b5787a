"""What users bring as ONNX: each kind is run rightly, or refused by name before any work."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import own_files
import pytest
from onnx import TensorProto, helper, numpy_helper
from own_files import FLOAT, answers, images, network, weights, written

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.plan.matrix import check_data
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.onnx.network import Network
from dlcompare.inference.onnx.network import network as network_of
from dlcompare.inference.onnx.source import Source
from dlcompare.inference.onnx.tidy import tidy
from dlcompare.inference.onnx.wiring import Wiring
from dlcompare.inference.precision.placement import of_inputs
from dlcompare.inference.precision.quantise import activation_tensors, layers_left, quantise
from dlcompare.inference.preparation.preparation import check_classes


def read(folder: Path, model: onnx.ModelProto, **more: object) -> Network:
    return network_of(Source(onnx=written(folder, model), **more), folder)  # type: ignore[arg-type]


def int8(net: Network) -> onnx.ModelProto:
    return quantise(net.model, dict.fromkeys(activation_tensors(net.model), (-8.0, 8.0)), scheme="u8s8")


def listed() -> onnx.ModelProto:
    """Initialisers among the inputs, as files of IR version 3 have them."""
    model = network()
    model.graph.input.extend(helper.make_tensor_value_info(t.name, FLOAT, t.dims) for t in model.graph.initializer)
    return model


def through_nodes() -> onnx.ModelProto:
    """Weights and biases that reach their layers through Identity, Transpose and Constant."""
    held = weights()
    nodes = [helper.make_node("Identity", ["w0"], ["w"], "id"), helper.make_node("Transpose", ["v0"], ["v"], "turn"),
             helper.make_node("Constant", [], ["b"], "held", value=numpy_helper.from_array(held["b"])),
             helper.make_node("Cast", ["a0"], ["a"], "cast", to=FLOAT), *own_files.body()]
    return network(nodes, held={"w0": held["w"], "v0": held["v"].T.copy(), "a0": held["a"].astype(np.float64)})


def half_inside() -> onnx.ModelProto:
    """Weights and arithmetic in fp16, inputs and outputs float."""
    nodes = [helper.make_node("Cast", ["x"], ["x16"], "down", to=TensorProto.FLOAT16), *own_files.body(),
             helper.make_node("Cast", ["y16"], ["y"], "up", to=FLOAT)]
    nodes[1].input[0], nodes[-2].output[0] = "x16", "y16"
    return network(nodes, held={name: value.astype(np.float16) for name, value in weights().items()})


@pytest.mark.parametrize("make", [network, listed, through_nodes, half_inside])
def test_all_layers_come_to_int8_and_answers_stay(tmp_path: Path, make: object) -> None:
    model = make()  # type: ignore[operator]
    net = read(tmp_path, model)
    x = images()
    (before,), (plain,), (quantised,) = answers(model, x=x), answers(net.model, x=x), answers(int8(net), x=x)
    np.testing.assert_allclose(plain, before, rtol=0.02, atol=0.02)
    assert layers_left(int8(net)) == [] and len(layers_left(net.model)) == 2
    assert np.abs(quantised - plain).max() < 0.5 * np.abs(plain).max()
    assert list(net.inputs) == ["x", "label"] and ("float32" in net.origin) == (make is half_inside)


def test_a_file_converted_as_the_refusal_advises_is_read(tmp_path: Path) -> None:
    old = listed()
    old.opset_import[0].version = 11
    with pytest.raises(UsageError, match="convert_version"):
        read(tmp_path, old)
    assert layers_left(int8(read(tmp_path, onnx.version_converter.convert_version(old, 17)))) == []


def test_what_inner_graphs_read_stays_when_constants_are_folded() -> None:
    inner = [helper.make_graph([helper.make_node("Add", ["y0", name], ["z"], f"add-{name}")], name, [],
                               [helper.make_tensor_value_info("z", FLOAT, None)]) for name in ("a2", "a")]
    nodes = [*own_files.body(), helper.make_node("Identity", ["a"], ["a2"], "id"),
             helper.make_node("ReduceSum", ["y0"], ["s"], "sum", keepdims=0),
             helper.make_node("Cast", ["s"], ["yes"], "cast", to=TensorProto.BOOL),
             helper.make_node("If", ["yes"], ["y"], "if", then_branch=inner[0], else_branch=inner[1])]
    nodes[4].output[0] = "y0"
    model, x = network(nodes), images()
    np.testing.assert_array_equal(answers(tidy(model), x=x)[0], answers(model, x=x)[0])


def ending(*nodes: onnx.NodeProto, **outputs: tuple[int, tuple[object, ...] | None]) -> onnx.ModelProto:
    return network([*own_files.body(), *nodes], outputs=outputs)


FOUR = helper.make_node("Unsqueeze", ["y", "axes"], ["four"], "four")


def four_axes() -> onnx.ModelProto:
    held = weights() | {"axes": np.array([2, 3])}
    return network([*own_files.body(), FOUR], outputs={"four": (FLOAT, ("N", 4, 1, 1))}, held=held)


def test_scores_of_classes_may_have_trailing_axes_of_one(tmp_path: Path) -> None:
    from dlcompare.inference.cell.accuracy import answers as judged

    net = read(tmp_path, four_axes())
    assert net.outputs == ("four",) and net.inputs["label"].high == 4
    (found,) = answers(net.model, x=images())
    assert found.shape == (5, 4, 1, 1)
    best = found.reshape(5, 4).argmax(axis=1)
    assert judged("classification", {"output/four": found, "label/label": best}).right.all()


ARGMAX = helper.make_node("ArgMax", ["y"], ["best"], "best", axis=1)
BOXES = helper.make_node("Reshape", ["y", "sizes"], ["boxes"], "boxes")


@pytest.mark.parametrize(("model", "said"), [
    (ending(ARGMAX, best=(TensorProto.INT64, ("N", 1))), r"returns 'best' int64 \(N, 1\)"),
    (network([*own_files.body(), BOXES], outputs={"boxes": (FLOAT, ("N", 2, 2))},
             held=weights() | {"sizes": np.array([0, 2, 2])}), r"returns 'boxes' float32 \(N, 2, 2\)"),
    (ending(y=(FLOAT, ("N", 4)), f=(FLOAT, ("N", 8))), r"several .*'y' float32 \(N, 4\).*'f'.*choose one with"),
])
def test_outputs_that_tell_no_classes_are_refused_at_once(tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        read(tmp_path, model)
    assert read(tmp_path, model, scored=False).outputs == tuple(value.name for value in model.graph.output)


def test_the_output_may_be_chosen(tmp_path: Path) -> None:
    model = ending(ARGMAX, f=(FLOAT, ("N", 8)), y=(FLOAT, ("N", 4)), best=(TensorProto.INT64, ("N", 1)))
    assert read(tmp_path, model, output="y").outputs == ("y",)
    with pytest.raises(UsageError, match=r"unknown output 'yy'.*Did you mean 'y'"):
        read(tmp_path, model, output="yy")
    with pytest.raises(UsageError, match="returns 'best' int64"):
        read(tmp_path, model, output="best")


def test_a_file_that_is_quantised_already_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine.onnx' is quantised already: QuantizeLinear.*give the FP32 file"):
        read(tmp_path, int8(read(tmp_path, network())))


def test_a_node_name_that_occurs_twice_is_told_of_the_users_file(tmp_path: Path) -> None:
    model = network()
    model.graph.node[1].name = "conv"
    with pytest.raises(UsageError, match=r"mine.onnx' has several nodes of one name: 'conv'"):
        read(tmp_path, model)


@pytest.mark.parametrize("opset", [13, 27, 28])
def test_every_opset_that_is_read_is_quantised(tmp_path: Path, opset: int) -> None:
    made = int8(read(tmp_path, network(opset=opset)))
    assert answers(made, x=images())[0].shape == (5, 4)


def test_an_operator_that_changed_beyond_what_is_quantised_is_named(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcompare.inference.precision.quantise.NEWEST_OPSET", 12)
    with pytest.raises(UsageError, match=r"opset 17, whose .*Relu.* no engine quantises"):
        int8(read(tmp_path, network()))


@pytest.mark.parametrize("first", [0, -1, "N"])
def test_an_open_batch_is_one_however_it_is_written(tmp_path: Path, first: int | str) -> None:
    net = read(tmp_path, network(x=(first, 3, 8, 8)))
    assert net.fixed_batch is None and answers(net.model, x=images())[0].shape == (5, 4)


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path, network(x=(1, 3, 8, 8))).fixed_batch == 1


@pytest.mark.parametrize(("name", "value", "said"), [
    ("w", np.nan, "'w', which 'conv' reads, holds 1 NaN and 0 infinite"),
    ("v", np.inf, "'v', which 'fc' reads, holds 0 NaN and 1 infinite"), ("a", np.nan, "'a'")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, name: str, value: float, said: str) -> None:
    held = weights()
    held[name].flat[3] = value
    with pytest.raises(UsageError, match=f"mine.onnx' cannot be run: tensor {said}"):
        read(tmp_path, network(held=held))


def test_answers_that_are_no_numbers_fail_their_cell() -> None:
    from dlcompare.inference.kind.worker import check_answers

    job = InferenceJob(engine="onnxruntime", model="mine", precision="fp16")
    check_answers({"y": np.array([1.0, -np.inf])}, job)
    with pytest.raises(JobError, match="output 'y' holds 1 NaN of 2 values in fp16"):
        check_answers({"y": np.array([1.0, np.nan])}, job)


@pytest.mark.parametrize(("classes", "offset", "refused"), [
    (10, None, False), (11, None, True), (11, 1, False), (11, 0, False), (12, None, False)])
def test_one_class_more_than_the_data_has_must_be_explained(tmp_path: Path, classes: int, offset: int | None,
                                                            refused: bool) -> None:
    net = read(tmp_path, network(classes=classes), label_offset=offset)
    asked = InferenceRequest(onnx="mine.onnx", engines=("onnxruntime",), label_offset=offset)
    with pytest.raises(UsageError, match=r"11 classes apart, and digits has 10.*--label-offset 1") if refused else (
            contextlib.nullcontext()):
        check_classes(asked, net.inputs, "digits")


def test_fewer_classes_than_the_data_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 10 classes, but this model tells only 9 apart"):
        check_data(plugins(), "digits", Graph("", dict(read(tmp_path, network(classes=9)).inputs), (), {}))


def channels_last() -> onnx.ModelProto:
    """A network as TensorFlow's exporter writes it."""
    nodes = [helper.make_node("Transpose", ["x"], ["first"], "turn", perm=[0, 3, 1, 2]), *own_files.body()]
    nodes[1].input[0] = "first"
    return network(nodes, x=("N", 16, 16, 3), classes=10)


def test_channels_last_are_told_from_the_shape_and_all_layers_come_to_int8(tmp_path: Path) -> None:
    net = read(tmp_path, channels_last())
    assert net.preprocessing.layout == "nhwc" and net.image_size == 16
    assert net.preprocessing.data_inputs(net.inputs)["x"].shape == (3, 16, 16)
    assert layers_left(int8(net)) == [] and answers(int8(net), x=images(2, (16, 16, 3)))[0].shape == (2, 10)
    assert read(tmp_path, network(x=("N", 3, 16, 24))).image_size is None
    assert of_inputs(Wiring.of(net.model), net.inputs) == ["x", "label", "first"], "an image is not clipped"


STATE = helper.make_tensor_value_info("h", FLOAT, (2, 8))
SCALAR = helper.make_tensor_value_info("t", FLOAT, ())


@pytest.mark.parametrize(("value", "said"), [
    (STATE, r"input 'h' has shape \(2, 8\): a scalar or a state.*--inputs"), (SCALAR, r"input 't' has shape \(\)")])
def test_inputs_that_no_dataset_can_fill_are_named(tmp_path: Path, value: onnx.ValueInfoProto, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(tmp_path, network(more=[value]))
