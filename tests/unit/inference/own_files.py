"""ONNX files as users bring them, small: one convolution and a classifier behind it, and what exporters do to such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT = TensorProto.FLOAT


def weights(classes: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"w": (8, 3, 3, 3), "b": (8,), "v": (8, classes), "a": (classes,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def body() -> list[onnx.NodeProto]:
    """Return Conv, Relu, pooling and Gemm from ``x`` to ``y``, weights ``w``, ``b``, ``v``, ``a``."""
    return [helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"), helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
            helper.make_node("Flatten", ["g"], ["f"], "flat"), helper.make_node("Gemm", ["f", "v", "a"], ["y"], "fc")]


def network(nodes: Sequence[onnx.NodeProto] | None = None, *, x: Sequence[Any] = ("N", 3, 8, 8), classes: int = 4,
            outputs: dict[str, tuple[int, Sequence[Any] | None]] | None = None,
            more: Sequence[onnx.ValueInfoProto] = (), held: dict[str, np.ndarray] | None = None,
            opset: int = OPSET) -> onnx.ModelProto:
    """Return a model of these nodes; ``outputs`` by name their type and shape."""
    given = [helper.make_tensor_value_info("x", FLOAT, x), *more]
    made = [helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in (outputs or {"y": (FLOAT, (x[0], classes))}).items()]
    tensors = [numpy_helper.from_array(value, name) for name, value in (held or weights(classes)).items()]
    graph = helper.make_graph(list(body() if nodes is None else nodes), "net", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "mine.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def answers(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    """Return what onnxruntime says."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feeds)]


def images(number: int = 5, shape: Sequence[int] = (3, 8, 8)) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((number, *shape)).astype(np.float32)
