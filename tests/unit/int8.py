"""Small real networks for the tests of INT8: exported, run by onnxruntime, calibrated, spoiled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
import tiny
from onnx import helper, numpy_helper

from dlcompare.core.graph.ops import trace
from dlcompare.core.graph.params import initial_params
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import export
from dlcompare.inference.onnx.wiring import Wiring, output_axis
from dlcompare.inference.precision.equalise import chains
from dlcompare.inference.precision.histograms import Artifact, Collector, instrument
from dlcompare.inference.precision.quantise import activation_tensors


def network(name: str = "resnet18", size: int | None = 32) -> onnx.ModelProto:
    """Return a model of ours with initial parameters, biases and all."""
    graph = plugins().model(name).graph(size)
    return export(graph, initial_params(graph, 0))


def residual() -> onnx.ModelProto:
    """Return the one-block ResNet of the tests."""
    graph = trace("tiny-residual", tiny.residual, tiny.INPUTS)
    return export(graph, initial_params(graph, 0))


def images(model: onnx.ModelProto, number: int, seed: int = 0) -> np.ndarray:
    """Return smooth random images."""
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim][1:]
    noise = np.random.default_rng(seed).standard_normal((number, *shape))
    return np.asarray(noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3), np.float32)


def session(model: onnx.ModelProto, *, optimised: str | None = None,
            level: str = "ENABLE_ALL") -> onnxruntime.InferenceSession:
    """Return an onnxruntime session; ``optimised`` is where it is to leave the graph that it really runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    if optimised:
        options.optimized_model_filepath = optimised
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, image: np.ndarray, *, level: str = "ENABLE_ALL") -> np.ndarray:
    """Return the first output."""
    one = session(model, level=level)
    return np.asarray(one.run(None, {one.get_inputs()[0].name: image})[0])


def exact(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return all outputs in the arithmetic that the file describes, whatever this CPU's kernels do.

    Unfused, Q and DQ round and everything between is FP32; fused INT8 kernels saturate on CPUs without VNNI.
    """
    return [np.asarray(value) for value in session(model, level="DISABLE_ALL").run(None, dict(feeds))]


def calibrated(model: onnx.ModelProto, image: np.ndarray) -> Artifact:
    """Return what the model's activations held, in two batches, the second a short one."""
    tensors = activation_tensors(model)
    one, collector = session(instrument(model, tensors)), Collector(tensors)
    cut = len(image) * 2 // 3
    for part in (image[:cut], image[cut:]):
        collector.add(dict(zip(tensors, one.run(tensors, {one.get_inputs()[0].name: part}), strict=True)),
                      samples=range(len(part)))
    return collector.artifact({"samples": list(range(len(image)))})


def sqnr(reference: np.ndarray, found: np.ndarray) -> float:
    """Return decibels of signal to quantisation noise."""
    return float(10 * np.log10(np.square(reference).sum() / np.square(reference - found).sum()))


def spoil(model: onnx.ModelProto, layers: Iterable[str]) -> onnx.ModelProto:
    """Return the same function with the channels that these layers make scaled between 1/4096 and 1, and back after.

    Powers of two: the network computes the same to the last bit.
    """
    spoiled = onnx.ModelProto()
    spoiled.CopyFrom(model)
    wiring, random = Wiring.of(spoiled), np.random.default_rng(5)
    found = {chain.first.name: chain for chain in chains(wiring)}
    for layer in layers:
        first, second = found[layer].first, found[layer].second
        weight = np.moveaxis(wiring.value(first.input[1]).copy(), output_axis(first), 0)
        factor = (2.0 ** -random.integers(0, 13, len(weight))).astype(np.float32)
        change(wiring, first.input[1], factor, output_axis(first))
        change(wiring, second.input[1], 1 / factor, 1 - output_axis(second))
        for name in first.input[2:3]:
            change(wiring, name, factor, 0)
    return spoiled


def change(wiring: Wiring, name: str, factor: np.ndarray, axis: int) -> None:
    value = wiring.value(name)
    shape = [-1 if a == axis else 1 for a in range(value.ndim)]
    wiring.constants[name].CopyFrom(numpy_helper.from_array(value * factor.reshape(shape), name))


def built(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], *, inputs: dict[str, list[int | str]],
          outputs: list[str]) -> onnx.ModelProto:
    """Return a model of these nodes, for cases that no network of ours has."""
    declared = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "built", declared, made, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
