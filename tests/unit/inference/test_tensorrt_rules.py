"""What we write for TensorRT breaks none of its rules; a file broken in one way is told so, once, by its node."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import int8
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dlcompare.inference.precision.quantise import activation_tensors, quantise
from dlcompare.inference.precision.ranges import ranges
from dlcompare.inference.precision.tensorrt_rules import violations

Break = Callable[[onnx.ModelProto], None]


@cache
def rendered(scheme: str) -> bytes:
    model = int8.residual()
    found = ranges(int8.calibrated(model, int8.images(model, 6)), "minmax")
    return quantise(model, found, scheme=scheme).SerializeToString()


def fresh(scheme: str = "s8s8") -> onnx.ModelProto:
    return onnx.load_model_from_string(rendered(scheme))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(one for one in model.graph.node if one.name == name)


def hold(model: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    """Give a constant another value, or make one."""
    old = [tensor for tensor in model.graph.initializer if tensor.name == name]
    for tensor in old:
        model.graph.initializer.remove(tensor)
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def before(model: onnx.ModelProto, name: str, *nodes: onnx.NodeProto) -> None:
    at = [one.name for one in model.graph.node].index(name)
    for number, one in enumerate(nodes):
        model.graph.node.insert(at + number, one)


def pair(model: onnx.ModelProto, tensor: str, *, scale: str = "relu2/scale", kind: type = np.int8) -> tuple[str, list]:
    zero = hold(model, f"{tensor}/new_zero", np.array(0, kind))
    return f"{tensor}/new", [
        helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{tensor}/q"], name=f"{tensor}/q"),
        helper.make_node("DequantizeLinear", [f"{tensor}/q", scale, zero], [f"{tensor}/new"], name=f"{tensor}/new")]


def asymmetric(m: onnx.ModelProto) -> None:
    node(m, "relu2/quantised").input[2] = hold(m, "z", np.array(3, np.int8))


def unsigned(m: onnx.ModelProto) -> None:
    node(m, "relu2/quantised").input[2] = hold(m, "z", np.array(0, np.uint8))


def without_zero_point(m: onnx.ModelProto) -> None:
    del node(m, "relu2/quantised").input[2]


def computed_zero_point(m: onnx.ModelProto) -> None:
    before(m, "relu2/quantised", helper.make_node("Identity", ["relu2/zero_point"], ["z"], name="copy"))
    node(m, "relu2/quantised").input[2] = "z"


def computed_scale(m: onnx.ModelProto) -> None:
    before(m, "relu2/quantised", helper.make_node("Identity", ["relu2/scale"], ["s"], name="copy"))
    node(m, "relu2/dequantised").input[1] = "s"


def zero_scale(m: onnx.ModelProto) -> None:
    scale = numpy_helper.to_array(next(t for t in m.graph.initializer if t.name == "conv3/weight/scale")).copy()
    scale[1] = 0
    node(m, "conv3/weight/quantised").input[1] = hold(m, "s", scale)


def scales_by_channel_of_an_activation(m: onnx.ModelProto) -> None:
    node(m, "relu2/quantised").input[1] = hold(m, "s", np.full(8, 0.1, np.float32))


def wrong_axis(m: onnx.ModelProto) -> None:
    node(m, "conv3/weight/quantised").attribute[0].i = 1


def wrong_number_of_scales(m: onnx.ModelProto) -> None:
    node(m, "conv3/weight/quantised").input[1] = hold(m, "s", np.full(5, 0.1, np.float32))


def quantised_alone(m: onnx.ModelProto) -> None:
    inputs = ["relu2", "relu2/scale", "relu2/zero_point"]
    before(m, "conv3", helper.make_node("QuantizeLinear", inputs, ["q"], name="q"))


def weights_in_integers(m: onnx.ModelProto) -> None:
    quantise_node = node(m, "conv3/weight/quantised")
    m.graph.node.remove(quantise_node)
    hold(m, "conv3/weight/quantised", np.ones((8, 8, 3, 3), np.int8))


def another_scale(m: onnx.ModelProto) -> None:
    node(m, "relu2/dequantised").input[1] = hold(m, "s", np.array(9, np.float32))


def input_in_float(m: onnx.ModelProto) -> None:
    node(m, "conv3").input[0] = "relu2"
    for name in ("relu2/quantised", "relu2/dequantised"):
        m.graph.node.remove(node(m, name))


def weight_in_float(m: onnx.ModelProto) -> None:
    node(m, "conv3").input[1] = "conv3.weight"
    for name in ("conv3/weight/quantised", "conv3/weight/dequantised"):
        m.graph.node.remove(node(m, name))


def quantised_bias(m: onnx.ModelProto) -> None:
    steps = hold(m, "bs", np.full(8, 0.001, np.float32))
    hold(m, "bq", np.ones(8, np.int32))
    zero = hold(m, "bz", np.zeros(8, np.int32))
    before(m, "conv3", helper.make_node("DequantizeLinear", ["bq", steps, zero], ["bd"], name="bd", axis=0))
    node(m, "conv3").input[2] = "bd"


def before_a_relu(m: onnx.ModelProto) -> None:
    name, nodes = pair(m, "conv2")
    before(m, "relu2", *nodes)
    node(m, "relu2").input[0] = name


def before_an_addition(m: onnx.ModelProto) -> None:
    name, nodes = pair(m, "conv3")
    before(m, "sum", *nodes)
    node(m, "sum").input[0] = name


BROKEN: list[tuple[Break, str, str]] = [
    (asymmetric, "relu2/quantised", "zero point is not 0"), (unsigned, "relu2/quantised", "its type is uint8"),
    (without_zero_point, "relu2/quantised", "no zero point"),
    (computed_zero_point, "relu2/quantised", "zero point 'z' is computed"),
    (computed_scale, "relu2/dequantised", "scale 's' is computed"),
    (zero_scale, "conv3/weight/quantised", "not positive"),
    (scales_by_channel_of_an_activation, "relu2/quantised", "8 scales for an activation"),
    (wrong_axis, "conv3/weight/quantised", "8 scales along axis 1"),
    (wrong_number_of_scales, "conv3/weight/quantised", "5 scales along axis 0"),
    (quantised_alone, "q", "must be read by DequantizeLinear"),
    (weights_in_integers, "conv3/weight/dequantised", "must read what a QuantizeLinear makes"),
    (another_scale, "relu2/dequantised", "not that of relu2/quantised"),
    (input_in_float, "conv3", "its input is not quantised"), (weight_in_float, "conv3", "its weight is not quantised"),
    (quantised_bias, "conv3", "its bias is quantised"),
    (before_a_relu, "conv2/q", "stands between conv2 and relu2"), (before_an_addition, "sum", "both its inputs"),
]


@pytest.mark.parametrize(("break_it", "named", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_broken_in_one_way_is_told_so(break_it: Break, named: str, said: str) -> None:
    model = fresh()
    break_it(model)
    own = [text for text in violations(model) if text.startswith(f"{named}: ")]
    assert len(own) == 1 and said in own[0], violations(model)
    others = [text for text in violations(model) if text not in own]
    assert all("not that of" in text for text in others), others  # one of a pair was changed


def test_what_is_written_for_tensorrt_breaks_no_rule() -> None:
    assert violations(fresh()) == []


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("every", [0, 3])
def test_nor_do_networks_of_ours_with_tensors_left_out(name: str, every: int) -> None:
    model = int8.network(name, 32)
    tensors = activation_tensors(model)
    made = quantise(model, dict.fromkeys(tensors, (-1.0, 1.0)), scheme="s8s8",
                    exclude=set(tensors[::every]) if every else set())
    assert violations(made) == []


def test_what_is_written_for_cpus_breaks_several() -> None:
    said = "\n".join(violations(fresh("u8s8")))
    assert all(words in said for words in ("uint8", "bias is quantised", "QuantizeLinear makes"))


def test_a_float_network_breaks_none() -> None:
    assert violations(int8.residual()) == []
