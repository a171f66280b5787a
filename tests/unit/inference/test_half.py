"""Networks lowered to 16 bits: valid, half as large, as near to float32 as the precision's rounding lets them be.

Every operation rounds its operands and its result by at most u = 2**-11 (fp16) or 2**-8 (bf16) of their size. Roundings
of many elements add up as a random walk, so a network of n layers in a row is off by about u * sqrt(2 n): with n up to
20 here, 6 u. A network whose 16 bits are not there at all is off by far less, so that is asked for too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from sixteen_bits import emulated
from test_export import MODELS, Arrays, batch_of, build, drawn, nodes, run, small

from dlcompare.core.conformance.cases import RECIPES, tiny
from dlcompare.core.errors import UsageError
from dlcompare.core.graph.ops import Tensor
from dlcompare.inference.onnx.export import export, save
from dlcompare.inference.onnx.read import read
from dlcompare.inference.precision.half import KEPT, lower

ROUNDING = {"fp16": 2**-11, "bf16": 2**-8}
TYPE = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
NAMES = [pytest.param("alexnet", marks=pytest.mark.slow), "resnet18",
         pytest.param("resnet50", marks=pytest.mark.slow), "bert-tiny"]


def runnable(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """onnxruntime has no bf16 kernels on a CPU."""
    return model if precision == "fp16" else emulated(model)


def error(found: Arrays, wanted: Arrays) -> float:
    return max(float(np.linalg.norm(found[k] - wanted[k]) / np.linalg.norm(wanted[k])) for k in wanted)


def kept(model: onnx.ModelProto) -> set[str]:
    return set(next(entry.value for entry in model.metadata_props if entry.key == KEPT).split())


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("name", NAMES)
def test_a_lowered_network_is_as_near_as_its_rounding(name: str, precision: str) -> None:
    graph = small(name)
    model, batch = export(graph, drawn(graph)), batch_of(graph, 4)
    lowered = lower(model, precision)
    onnx.checker.check_model(lowered, full_check=True)
    found, wanted = run(runnable(lowered, precision), batch), run(model, batch)
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    assert 0.05 * ROUNDING[precision] < error(found, wanted) < 6 * ROUNDING[precision]
    assert lowered.ByteSize() < 0.56 * model.ByteSize()


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("name", RECIPES)
def test_every_conformance_case_survives(name: str, precision: str) -> None:
    case = tiny(name)
    model = export(case.graph, case.params)
    lowered = lower(model, precision)
    onnx.checker.check_model(lowered, full_check=True)
    found, wanted = run(runnable(lowered, precision), case.batches[0]), run(model, case.batches[0])
    if wanted["y"].any():
        assert error(found, wanted) < 6 * ROUNDING[precision]


@pytest.mark.parametrize("precision", ROUNDING)
def test_names_types_and_the_model_given_stay(precision: str) -> None:
    graph = small("bert-tiny")
    model = export(graph, drawn(graph))
    before = model.SerializeToString(deterministic=True)
    lowered = lower(model, precision)
    assert model.SerializeToString(deterministic=True) == before
    assert lowered.graph.input == model.graph.input and lowered.graph.output == model.graph.output
    assert nodes(model).keys() <= nodes(lowered).keys()
    assert {kind for name, kind in nodes(lowered).items() if name not in nodes(model)} == {"Cast"}
    types = {t.name: t.data_type for t in lowered.graph.initializer}
    weights = {k for k in types if k.endswith(".weight") and "LayerNorm" not in k}
    assert {types[k] for k in weights} == {TYPE[precision]}
    assert types["bert.embeddings.LayerNorm.weight"] == TensorProto.FLOAT


@pytest.mark.parametrize("precision", ROUNDING)
def test_products_are_low_and_sums_stay_wide(precision: str) -> None:
    graph = small("bert-tiny")
    lowered = lower(export(graph, drawn(graph)), precision)
    typed = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(lowered).graph.value_info}
    for node in lowered.graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            assert typed[node.output[0]] == TYPE[precision], node.name
        if node.op_type in ("Softmax", "ReduceMean", "Sqrt"):
            assert typed[node.output[0]] == TensorProto.FLOAT and node.name in kept(lowered), node.name


def test_what_fp16_cannot_hold_stays_in_float32_and_is_named() -> None:
    graph = build(lambda x: {"y": x.scale(1e5, name="large").scale(1e-5, name="back").relu(name="relu"),
                             "z": x.scale(1e-9, name="small")})
    model, batch = export(graph, {}), batch_of(graph, 2)
    lowered = lower(model, "fp16")
    assert kept(lowered) == {"large", "back", "relu", "small"}
    assert error(run(lowered, batch), run(model, batch)) < 1e-6
    assert kept(lower(model, "bf16")) == set()


@pytest.mark.parametrize("layer", [lambda x: x.conv(4, 3, name="layer"), lambda x: x.dense(4, name="layer")])
def test_weights_beyond_fp16_are_refused_by_name(layer: Callable[[Tensor], Tensor]) -> None:
    graph = build(lambda x: {"y": layer(x)})
    params = drawn(graph)
    params["layer.weight"].flat[1] = 7e4
    with pytest.raises(UsageError, match=r"weight 'layer\.weight' of node 'layer.*' holds .* fp16's range.*bf16"):
        lower(export(graph, params), "fp16")
    assert kept(lower(export(graph, params), "bf16")) == set()


def test_one_tensor_may_be_an_output_and_be_read_on() -> None:
    def network(x: Tensor) -> dict[str, Tensor]:
        y = x.conv(3, 3, name="conv").relu(name="relu")
        return {"y": y, "z": y.tanh(name="tanh"), "x2": x}

    graph = build(network)
    model, batch = export(graph, drawn(graph)), batch_of(graph, 2)
    for precision in ROUNDING:
        lowered = lower(model, precision)
        found = run(runnable(lowered, precision), batch)
        assert error(found, run(model, batch)) < 6 * ROUNDING[precision]
        assert {n.name: n.input[0] for n in lowered.graph.node}["tanh"] == f"y/{precision}"


def test_a_weight_in_bf16_is_rounded_to_the_nearest() -> None:
    graph = build(lambda x: {"y": x.dense(4, bias=False, name="fc")})
    model = export(graph, params := drawn(graph))
    tensor = next(t for t in lower(model, "bf16").graph.initializer if t.name == "fc.weight")
    values = numpy_helper.to_array(tensor).astype(np.float32)
    assert np.abs(values / params["fc.weight"].T - 1).max() <= ROUNDING["bf16"]
    assert abs(np.mean(values - params["fc.weight"].T)) < 2**-9 * np.abs(values).mean()  # not cut off


def test_a_lowered_file_can_be_saved_and_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    graph = small("bert-tiny")
    folder = tmp_path_factory.mktemp("half")
    for precision in ROUNDING:
        lowered = lower(export(graph, drawn(graph)), precision)
        for limit in (0, 2**30):
            save(lowered, folder / "net.onnx", limit=limit)
            assert [t.name for t in read(folder / "net.onnx").graph.initializer] == [
                t.name for t in lowered.graph.initializer]


def test_what_cannot_be_lowered_is_refused() -> None:
    model = export(graph := MODELS["bert-tiny"].graph(), drawn(graph))
    with pytest.raises(UsageError, match=r"unknown 16-bit precision 'int8'; there is: bf16, fp16"):
        lower(model, "int8")
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    with pytest.raises(UsageError, match=r"'bert-tiny' has branches or loops.*run it in fp32"):
        lower(model, "fp16")
