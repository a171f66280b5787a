"""Batch norm of other people's files: folded where it may be, left where it may not, the same function either way."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlcompare.inference.onnx.fold_batch_norm import fold_batch_norms

RNG = np.random.default_rng(0)


def network(*, bias: bool = False, second_reader: bool = False, groups: int = 1) -> onnx.ModelProto:
    """Return Conv, BatchNormalization (epsilon 0.1, so that it shows), Relu over (N, 4, 6, 6)."""
    held = {"w": RNG.standard_normal((8, 4 // groups, 3, 3)), "scale": RNG.standard_normal(8),
            "shift": RNG.standard_normal(8), "mean": RNG.standard_normal(8), "var": RNG.uniform(0.01, 2, 8)}
    held |= {"b": RNG.standard_normal(8)} if bias else {}
    nodes = [helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["c"], "conv", group=groups),
             helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], "bn", epsilon=0.1),
             helper.make_node("Relu", ["n"], ["r"], "relu"),
             helper.make_node("Add", ["r", "c"] if second_reader else ["r", "r"], ["y"], "add")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, 4, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in held.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_folding_changes_nothing_but_the_nodes(bias: bool, groups: int) -> None:
    model = network(bias=bias, groups=groups)
    after = fold_batch_norms(model)
    assert [node.op_type for node in after.graph.node] == ["Conv", "Relu", "Add"]
    assert [node.op_type for node in model.graph.node][1] == "BatchNormalization"  # the file given is as it was
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(answers(after, x), answers(model, x), rtol=1e-4, atol=1e-5)


def test_a_convolution_that_others_read_too_keeps_its_batch_norm() -> None:
    nodes = fold_batch_norms(network(second_reader=True)).graph.node
    assert [node.op_type for node in nodes][1] == "BatchNormalization"
