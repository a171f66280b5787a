"""ONNX files that somebody else made: each way in which one can be wrong or hostile, by real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.registry import plugins
from dlcompare.inference.onnx.export import content_sha256, export, save
from dlcompare.inference.onnx.inputs import batch, declared_inputs
from dlcompare.inference.onnx.read import read

WEIGHT = np.arange(1200, dtype=np.float32).reshape(3, 400)
Edit = Callable[[onnx.ModelProto], None]


def network(shape: tuple[int | str, ...] = ("N", 3), kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """One product with a weight of 4 800 bytes."""
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (*shape[:1], 400))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], "net", [x], [y],
                              [numpy_helper.from_array(WEIGHT, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def written(folder: Path, edit: Edit | None = None, *, outside: bool = False) -> Path:
    """Write the network, its weight in a file beside it if ``outside``; then edit what the first file says."""
    path = folder / "net.onnx"
    save(network(), path, limit=0 if outside else 2**30)
    if edit:
        model = onnx.load_model(str(path), load_external_data=False)
        edit(model)
        path.write_bytes(model.SerializeToString())
    return path


def external(**changed: str | None) -> Edit:
    """Return an edit of where the weight is said to be; None takes an entry away."""
    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        entries = {entry.key: entry.value for entry in tensor.external_data} | changed
        del tensor.external_data[:]
        for key, value in entries.items():
            if value is not None:
                tensor.external_data.add(key=key, value=value)

    return edit


@pytest.mark.parametrize("outside", [False, True])
def test_a_sound_file_is_read_whole(tmp_path: Path, outside: bool) -> None:
    model = read(written(tmp_path, outside=outside))
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), WEIGHT)


def test_data_may_lie_in_a_folder_below(tmp_path: Path) -> None:
    path = written(tmp_path, outside=True)
    (data,) = tmp_path.glob("*.data")
    (tmp_path / "below").mkdir()
    data.rename(tmp_path / "below" / "weights")
    model = onnx.load_model(str(path), load_external_data=False)
    external(location="below/weights")(model)
    path.write_bytes(model.SerializeToString())
    assert np.array_equal(numpy_helper.to_array(read(path).graph.initializer[0]), WEIGHT)


def test_data_behind_a_link_within_the_folder_is_read_or_refused_as_onnx_does(tmp_path: Path) -> None:
    path = written(tmp_path, outside=True)
    (data,) = tmp_path.glob("*.data")
    data.rename(tmp_path / "weights")
    data.symlink_to(tmp_path / "weights")
    try:
        assert np.array_equal(numpy_helper.to_array(read(path).graph.initializer[0]), WEIGHT)
    except UsageError as error:
        assert "link" in str(error).lower()


@pytest.mark.parametrize("bytes_", [b"PK\x03\x04 a zip archive", b"\xff" * 100, b"<html>404</html>"])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(bytes_)
    with pytest.raises(UsageError, match=r"is not an ONNX file|has no nodes"):
        read(tmp_path / "net.onnx")


def test_a_file_that_was_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UsageError, match=r"not all of one \(of \d+ bytes\)|cut short"):
            read(path)


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UsageError, match="there is no file"):
            read(path)


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no nodes"):
        read(written(tmp_path, lambda model: model.graph.ClearField("node")))


@pytest.mark.parametrize(("location", "said"), [
    ("/etc/hostname", "allowed is a path inside the folder"), ("../secret", "allowed is a path inside the folder"),
    ("below/../../secret", r"without '\.\.'"), ("", "allowed is a path inside"), ("a\0b", "allowed is a path inside"),
    ("missing.data", "no such file in .*Copy it there"), (".", "no such file"), ("fifo", "no such file"),
    ("link", "a link out of the folder .*Copy the file there"), ("folder/secret", "a link out of the folder")])
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str, said: str) -> None:
    """Each would be read, or waited for, by a reader that believes the file."""
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "mine"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    path = written(folder, external(location=location), outside=True)
    for look in (read, content_sha256):
        with pytest.raises(UsageError, match=rf"(?s)tensor 'w' is kept in.*{said}"):
            look(path)


@pytest.mark.parametrize(("place", "said"), [
    ({"offset": "4"}, "4800 bytes at 4 of .* has only 4800"), ({"offset": "9999999"}, "has only 4800"),
    ({"length": "9999999999999"}, "has only 4800"), ({"length": "4796"}, r"\(3, 400\) takes 4800 bytes, but 4796"),
    ({"length": None, "offset": "400"}, "takes 4800 bytes, but 4400"), ({"offset": "-4"}, "must be whole numbers"),
    ({"length": "many"}, "must be whole numbers"), ({"length": None, "offset": "99999"}, "has only 4800")])
def test_data_that_is_not_there_in_full_is_refused(tmp_path: Path, place: dict[str, str | None], said: str) -> None:
    with pytest.raises(UsageError, match=rf"tensor 'w' .*{said}"):
        read(written(tmp_path, external(**place), outside=True))


def test_tensors_in_attributes_and_inner_graphs_are_looked_at_too(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        inner = helper.make_graph([], "inner", [], [])
        inner.initializer.append(hostile())
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))

    def edit_constant(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Constant", [], ["z"], value=hostile()))

    def hostile() -> TensorProto:
        tensor = TensorProto(name="evil", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/hostname")
        return tensor

    for change in (edit, edit_constant):
        with pytest.raises(UsageError, match="tensor 'evil' is kept in '/etc/hostname'"):
            read(written(tmp_path, change))


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.add(domain="com.microsoft", version=1)


def _inner_domain(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Magic", ["x"], ["z"], name="trick", domain="evil")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))


def _opset(version: int) -> Edit:
    return lambda model: setattr(model.opset_import[0], "version", version)


@pytest.mark.parametrize(("edit", "said"), [
    (_domain, r"not of the ONNX standard: com\.microsoft\.MatMul \('product'\)"),
    (_inner_domain, r"evil\.Magic \('trick'\)"),
    (_opset(9), r"is of opset 9; 13 to \d+ can be read.*version_converter"),
    (_opset(999), "is of opset 999; 13 to"),
    (lambda m: setattr(m.graph.node[0], "op_type", "MatMull"), "not a valid ONNX model.*MatMull"),
    (lambda m: m.graph.node[0].input.append("z"), "not a valid ONNX model"),
    (lambda m: m.graph.node[0].input.__setitem__(0, "nowhere"), "not a valid ONNX model.*nowhere"),
    (lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 7), "not a valid ONNX model"),
    (lambda m: m.ClearField("opset_import"), "must specify opset_import"),
    (lambda m: m.graph.initializer[0].dims.append(2), "not a valid ONNX model")])
def test_what_the_standard_does_not_allow_is_refused(tmp_path: Path, edit: Edit, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(written(tmp_path, edit))


def test_what_a_model_reads_is_told_from_its_file() -> None:
    graph = plugins().models()["bert-tiny"].graph()
    model = export(graph, {k: np.ones(p.shape, np.float32) for k, p in graph.params().items()})
    assert declared_inputs(model) == {name: graph.inputs[name] for name in declared_inputs(model)}
    assert len(declared_inputs(model)) == 3 and batch(model) is None
    assert declared_inputs(network(("N", 3))) == {"x": Input((3,))}


def test_a_fixed_batch_is_told() -> None:
    assert batch(network((8, 3))) == 8
    assert declared_inputs(network((8, 3))) == {"x": Input((3,))}


@pytest.mark.parametrize(("model", "said"), [
    (network(()), r"input 'x' has shape \(\): a scalar or a state"),
    (network(("N", "length")), r"input 'x' has shape \(None, None\): only the first axis, the batch, may be open; "
                                   "give the others their sizes with onnx.tools.update_model_dims"),
    (network(kind=TensorProto.FLOAT16), "input 'x' is float16; a dataset gives float32 or int64")])
def test_inputs_that_no_dataset_can_fill_are_refused(model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        declared_inputs(model)


def test_inputs_that_fix_different_batches_are_refused() -> None:
    model = network((8, 3))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (4, 3)))
    with pytest.raises(UsageError, match=r"input 'z' has shape \(4, 3\): a scalar or a state"):
        declared_inputs(model)


def test_an_initialiser_that_is_listed_as_an_input_is_none() -> None:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (3, 400)))
    assert list(declared_inputs(model)) == ["x"]


def test_a_file_or_data_beside_it_that_is_far_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.onnx").open("wb") as file:
        file.truncate(200 << 30)
    with pytest.raises(UsageError, match=r"has 200.00 GiB, and an ONNX file has at most 2"):
        read(tmp_path / "sparse.onnx")

    def enlarge(model: onnx.ModelProto) -> None:
        (weight,) = model.graph.initializer
        weight.dims[:] = [3, 400 << 24]
        for entry in weight.external_data:
            entry.value = {"length": str(4800 << 24), "offset": "0"}.get(entry.key, entry.value)

    path = written(tmp_path, enlarge, outside=True)
    (data,) = tmp_path.glob("*.data")
    with data.open("r+b") as file:
        file.truncate(4800 << 24)
    with pytest.raises(UsageError, match=r"keeps 75.00 GiB of tensors beside it, and [\d.]+ are free here"):
        read(path)
