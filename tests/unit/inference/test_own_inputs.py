"""Inputs of a user's own, by name: read, fitted to the network, and judged without labels."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import own_files
import pytest
from onnx import TensorProto, helper
from own_files import FLOAT, network

from dlcompare.core.data.arrays import Arrays, read
from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.inference.cell import accuracy
from dlcompare.inference.cell.request import InferenceRequest
from dlcompare.inference.kind.request import complete
from dlcompare.inference.onnx.inputs import declared_inputs
from dlcompare.inference.onnx.network import network as network_of
from dlcompare.inference.preparation.preparation import samples_of


def asked(folder: Path, model: onnx.ModelProto, arrays: dict[str, np.ndarray], **more: Any) -> InferenceRequest:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]
    return complete(InferenceRequest(onnx=str(own_files.written(folder, model)), inputs=str(folder / "mine.npz"),
                                     engines=("onnxruntime",), **more))


def boxes() -> onnx.ModelProto:
    """Two outputs, neither of which tells classes, two inputs and a scalar."""
    nodes = [*own_files.body(), helper.make_node("Mul", ["r", "t"], ["scaled"], "scale"),
             helper.make_node("ReduceSum", ["z"], ["sums"], "sums", keepdims=0)]
    more = [helper.make_tensor_value_info("t", FLOAT, ()),
            helper.make_tensor_value_info("z", FLOAT, ("N", "length"))]
    return network(nodes, more=more, outputs={"scaled": (FLOAT, ("N", 8, 6, 6)), "y": (FLOAT, ("N", 4))})


ARRAYS = {"x": own_files.images(), "z": np.ones((5, 7), np.float32), "t": np.float32(2)}


def test_a_network_of_any_inputs_and_outputs_is_taken_without_labels(tmp_path: Path) -> None:
    request = asked(tmp_path, boxes(), ARRAYS)
    assert request.data == f"arrays:{tmp_path / 'mine.npz'}" and not request.labelled
    net = network_of(request.source, tmp_path)
    assert net.task == "outputs" and net.outputs == ("scaled", "y")
    assert net.inputs == {"x": Input((3, 8, 8), role="given"), "z": Input((7,), role="given"),
                          "t": Input((), role="state")}
    only = complete(dataclasses.replace(request, data=None, output="scaled"))
    assert network_of(only.source, tmp_path).outputs == ("scaled",)
    batch = Arrays(read(str(tmp_path / "mine.npz")), net.inputs).batch(np.array([3, 1]), epoch=0)
    assert {name: value.shape for name, value in batch.items()} == {"x": (2, 3, 8, 8), "z": (2, 7), "t": ()}
    np.testing.assert_array_equal(batch["x"], ARRAYS["x"][[3, 1]])


def test_an_array_of_labels_makes_it_a_classifier(tmp_path: Path) -> None:
    request = asked(tmp_path, network(), {"x": own_files.images(), "label": np.arange(5) % 4})
    net = network_of(request.source, tmp_path)
    assert request.labelled and net.task == "classification" and net.outputs == ("y",)
    assert Arrays(read(str(request.inputs)), net.inputs).batch(np.array([2]), epoch=0)["label"].tolist() == [2]


def test_a_folder_of_arrays_is_as_good(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", own_files.images())
    np.testing.assert_array_equal(read(str(tmp_path))["x"], own_files.images())


@pytest.mark.parametrize(("arrays", "said"), [
    ({"y": np.ones(3)}, "holds no array 'x'; the network reads x, and there is: y"),
    ({"x": np.ones((5, 3, 8, 9), np.float32)}, r"holds 'x' as \(5, 3, 8, 9\), but the network reads \(None, 3, 8, 8\)"),
    ({"x": np.float32(1)}, r"holds 'x' as \(\)"), ({"x": np.ones((3, 8, 8), np.float32)}, r"holds 'x' as \(3, 8, 8\)")])
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        network_of(asked(tmp_path, network(), arrays).source, tmp_path)


def test_a_state_is_given_as_it_is_whatever_the_batch() -> None:
    model = network(more=[helper.make_tensor_value_info("h", FLOAT, (2, 8)),
                          helper.make_tensor_value_info("on", TensorProto.BOOL, ("N",))])
    found = declared_inputs(model, {"x": (9, 3, 8, 8), "h": (2, 8), "on": (9,)})
    assert found["h"] == Input((2, 8), role="state") and found["on"] == Input((), "bool", "given")
    with pytest.raises(UsageError, match=r"holds 'h' as \(1, 8\)"):
        declared_inputs(model, {"x": (9, 3, 8, 8), "h": (1, 8), "on": (9,)})


@pytest.mark.parametrize(("arrays", "said"), [
    ({"x": np.ones((2, 4)), "z": np.ones((3, 4))}, "one number of samples.*x 2, z 3"),
    ({"x": np.ones((0, 4)), "z": np.ones((0, 4))}, "at least 1"),
    ({"x": np.full((2, 4), 0.5), "z": np.full((2, 4), 0.5)}, "'z' is float64, and the network reads int64"),
    ({"x": np.ones((2, 4))}, "no array 'z'")])
def test_samples_that_do_not_belong_together_are_named(arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Arrays(arrays, {"x": Input((4,)), "z": Input((4,), "int64")})


def test_no_path_is_not_this_folder() -> None:
    with pytest.raises(UsageError, match="arrays need a file"):
        read("")


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 cut"])
def test_what_holds_no_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    for path in (tmp_path / "mine.npz", tmp_path / "none.npz"):
        with pytest.raises(UsageError, match="cannot be read as arrays"):
            read(str(path))


def test_arrays_are_no_data_of_networks_of_ours() -> None:
    """Half of them calibrates and half is measured, which --data does not do."""
    with pytest.raises(UsageError, match="--inputs are for a user's own file"):
        complete(InferenceRequest(model="resnet18", data="arrays:x.npz", engines=("onnxruntime",)))


@pytest.mark.parametrize(("more", "said"), [
    ({"floor": 0.99}, "need labels"), ({"search": True}, "need labels"), ({"data": "digits"}, "the place of --data"),
    ({"mean": (0.5,), "std": (0.5,)}, "as they are")])
def test_what_needs_labels_or_images_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(tmp_path, network(), {"x": own_files.images()}, **more)


def test_without_labels_noise_is_told_and_agreement_where_there_are_classes() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((6, 10)), rng.standard_normal((6, 3, 4))
    for outputs, agreement in (({"y": one}, 1.0), ({"y": one, "z": two}, None), ({"z": two}, None)):
        pair = [accuracy.answers("outputs", {f"output/{k}": v * scale for k, v in outputs.items()})
                for scale in (1.0, 1.01)]
        found = accuracy.against(*pair)
        assert found["agreement"] == agreement and found["sqnr_db"] == pytest.approx(40.0)
        assert found["difference"] is None and accuracy.scores(pair[0], "outputs") == {
            "metric": "no labels", "samples": 6, "right": None, "top5": None}


@pytest.mark.slow
def test_engines_run_what_users_bring(tmp_path: Path) -> None:
    """Two outputs that tell no classes, a scalar, an open axis; a fixed batch, whose last piece is short."""
    many = {"x": own_files.images(25), "z": np.ones((25, 7), np.float32), "t": np.float32(2)}
    for model, arrays in ((boxes(), many), (network(x=(4, 3, 8, 8)), {"x": many["x"]})):
        np.savez(tmp_path / "mine.npz", **arrays)  # type: ignore[arg-type]
        done = subprocess.run([sys.executable, "-m", "dlcompare.core", "infer", "--onnx",
                               str(own_files.written(tmp_path, model)), "--inputs", "mine.npz", "--engine",
                               "onnxruntime,openvino", "--no-speed", "--format", "json"], cwd=tmp_path,
                              capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["accuracy"]
        assert [row["samples"] for row in rows] == [13] * 4 and {row["right"] for row in rows} == {None}
        assert all(row["against_fp32"]["sqnr_db"] > 30 for row in rows if row["precision"] == "int8")


def test_too_few_samples_for_int8_are_told_in_its_own_words(tmp_path: Path) -> None:
    request = asked(tmp_path, network(), {"x": own_files.images(9)})
    net = network_of(request.source, tmp_path)
    with pytest.raises(UsageError, match="give 10 samples or more, not 9, or add --precision fp32"):
        samples_of(request, net.inputs, str(request.data))
    only = dataclasses.replace(request, precisions=("fp32",))
    assert samples_of(only, net.inputs, str(request.data)).measured == tuple(range(9))
