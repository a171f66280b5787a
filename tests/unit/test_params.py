"""Drawing, hashing, reading and writing parameters; the PyTorch files were written by a real PyTorch."""

import json
import math
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Input, Param
from dlcompare.core.ops import Tensor, trace
from dlcompare.core.params import INITIALISERS, initial_params, params_sha256, read_weights, write_params
from dlcompare.core.torchfile import read_state_dict
from dlcompare.models import dlcompare_models

STATE_DICTS = Path(__file__).parents[1] / "golden" / "state_dicts"
MIXED = STATE_DICTS / "mixed.pt"


def small(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    x = image.conv(2, kernel=3, pad=1, name="conv").batch_norm(name="bn").flatten(name="flatten")
    logits = x.dense(3, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


GRAPH = trace("small", small, {"image": Input((3, 4, 4)), "label": Input((), "int64", "label", high=3)})
COUNTING = {name: (np.arange(math.prod(p.shape), dtype=np.float32) / 8).reshape(p.shape)
            for name, p in GRAPH.params().items()}


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[k], wanted[k]) for k in wanted)


# Drawing


def test_the_draw_of_a_seed_is_pinned() -> None:
    """The same on NumPy 1.23.5 and 2.4.6; if a new NumPy changes it, workers with different ones would disagree."""
    pinned = "532a4078d7917c587f9da9e287cbc32623af044a1f73db7adf1c25d8e25a5edb"
    assert params_sha256(initial_params(GRAPH, seed=0)) == pinned


def test_a_parameter_depends_on_seed_and_name_alone() -> None:
    def fewer(image: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"loss": image.flatten(name="flatten").dense(3, name="fc0").dense(32, name="x").dense(3, name="fc")
                .cross_entropy(label, name="loss")}

    other = trace("other", fewer, GRAPH.inputs)
    first, again, second = initial_params(GRAPH, 1), initial_params(other, 1), initial_params(GRAPH, 2)
    assert np.array_equal(first["fc.weight"], again["fc.weight"])
    assert not np.array_equal(first["fc.weight"], second["fc.weight"])
    assert not np.array_equal(again["fc0.weight"].ravel()[:96], again["fc.weight"].ravel())


def test_parameters_are_float32_of_the_declared_shape() -> None:
    params = initial_params(GRAPH, seed=-5)
    assert {k: v.shape for k, v in params.items()} == {k: p.shape for k, p in GRAPH.params().items()}
    assert {v.dtype for v in params.values()} == {np.dtype("float32")}
    assert params["bn.running_var"].tolist() == [1, 1]
    assert params["conv.bias"].tolist() == [0, 0]


@pytest.mark.parametrize(("init", "shape", "std"), [
    ("he_fan_out", (200, 50, 3, 3), 1 / 30), ("lecun", (100, 900), 1 / 30), ("normal_0.02", (300, 300), 0.02),
])
def test_normal_initialisers_have_their_spread(init: str, shape: tuple[int, ...], std: float) -> None:
    values = INITIALISERS[init](np.random.default_rng(0), shape)
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 4 * std / math.sqrt(values.size)


def test_every_model_uses_known_initialisers() -> None:
    assert {p.init for model in dlcompare_models() for p in model.graph().params().values()} <= set(INITIALISERS)


def test_an_unknown_initialiser_is_named() -> None:
    node = GRAPH.nodes[0]
    graph = Graph("x", {}, (type(node)("n", "conv", (), {}, (1,), params={"w": Param((1,), "lecum")}),), {})
    with pytest.raises(UsageError, match=r"'lecum'.*Did you mean 'lecun'"):
        initial_params(graph, 0)


# Hashing


def test_the_hash_sees_names_shapes_and_values_but_not_order_or_layout() -> None:
    base = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float32)}
    digest = params_sha256(base)
    assert params_sha256(dict(reversed(base.items()))) == digest
    assert params_sha256({**base, "a": np.asfortranarray(base["a"])}) == digest
    assert params_sha256({**base, "a": base["a"].astype(">f4")}) == digest
    others = [{**base, "a": base["a"].reshape(3, 2)}, {**base, "b": np.zeros(2, np.float32)},
              {"a": base["a"], "c": base["b"]}, {"a": base["a"]}]
    assert len({digest, *map(params_sha256, others)}) == 5


# Reading


@pytest.mark.parametrize("file", ["mixed.pt", "replica.pt"])
def test_a_state_dict_of_pytorch_is_read(file: str) -> None:
    found = read_weights(STATE_DICTS / file, GRAPH)
    assert same(found, COUNTING)
    assert all(v.dtype == np.float32 and v.flags.c_contiguous and v.flags.writeable for v in found.values())


def test_reading_imports_no_torch() -> None:
    code = f"import sys; from dlcompare.core import torchfile as t; t.read_state_dict(t.Path({str(MIXED)!r}))"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_safetensors_are_read(tmp_path: Path, dtype: str) -> None:
    save_file({name: array.astype(dtype) for name, array in COUNTING.items()}, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors", GRAPH), COUNTING)


def test_bfloat16_safetensors_are_read(tmp_path: Path) -> None:
    halves = {k: (v.view("<u4") >> 16).astype("<u2").tobytes() for k, v in COUNTING.items()}
    header, end = {}, 0
    for name, content in halves.items():
        header[name] = {"dtype": "BF16", "shape": COUNTING[name].shape, "data_offsets": [end, end + len(content)]}
        end += len(content)
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(halves.values()))
    assert same(read_weights(tmp_path / "w.safetensors", GRAPH), COUNTING)


def test_other_element_types_are_named(tmp_path: Path) -> None:
    save_file({**COUNTING, "fc.bias": np.zeros(3, np.complex64)}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"'fc.bias'.*C64"):
        read_weights(tmp_path / "w.safetensors", GRAPH)
    with pytest.raises(UsageError, match=r"torch.ComplexFloatStorage"):
        read_weights(STATE_DICTS / "complex.pt", GRAPH)


def refusal(tmp_path: Path, params: dict[str, np.ndarray]) -> str:
    save_file(params, tmp_path / "w.safetensors")
    with pytest.raises(UsageError) as caught:
        read_weights(tmp_path / "w.safetensors", GRAPH)
    return str(caught.value)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    text = refusal(tmp_path, {k: v for k, v in COUNTING.items() if k != "fc.weight"})
    assert "missing tensor 'fc.weight', shape (3, 32)" in text
    assert "'small'" in text
    assert "w.safetensors" in text


def test_an_unexpected_tensor_is_named_with_the_nearest(tmp_path: Path) -> None:
    text = refusal(tmp_path, {**{k: v for k, v in COUNTING.items() if k != "fc.bias"}, "fc.biass": COUNTING["fc.bias"]})
    assert "unexpected tensor 'fc.biass' (nearest parameter: 'fc.bias')" in text


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    text = refusal(tmp_path, {**COUNTING, "fc.weight": COUNTING["fc.weight"].reshape(32, 3)})
    assert "tensor 'fc.weight' has shape (32, 3), wanted (3, 32)" in text


def test_many_misfits_are_counted(tmp_path: Path) -> None:
    text = refusal(tmp_path, {f"layer.{index}": np.zeros(1, np.float32) for index in range(20)})
    assert f"and {20 + len(COUNTING) - 3} more" in text
    assert len(text) < 600


@pytest.mark.parametrize(("name", "content", "match"), [
    ("w.safetensors", b"\x00" * 40, "not a whole safetensors file"),
    ("w.safetensors", b"", "not a whole safetensors file"),
    ("w.pt", b"", "neither safetensors nor PyTorch's zip format"),
    ("w.pt", MIXED.read_bytes()[:2000], "cut short"),
    ("w.pt", (STATE_DICTS / "legacy.pt").read_bytes(), "older than PyTorch 1.6"),
    ("w.pt", (STATE_DICTS / "module.pt").read_bytes(), r"torch\.nn\.modules\.linear\.Linear.*only tensors"),
])
def test_unreadable_files_are_refused(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=match):
        read_weights(tmp_path / name, GRAPH)


def test_a_cut_safetensors_file_is_refused(tmp_path: Path) -> None:
    write_params(tmp_path / "w.safetensors", COUNTING)
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:-10])
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        read_weights(tmp_path / "w.safetensors", GRAPH)


@pytest.mark.parametrize("name", ["nowhere.pt", "."])
def test_a_path_without_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="there is no weights file"):
        read_weights(tmp_path / name, GRAPH)


# Hostile and damaged PyTorch files


def archive(path: Path, pickled: bytes, *, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            file.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("function", [os.system, eval, getattr, Path], ids=lambda f: f.__name__)
def test_no_call_in_a_pickle_is_made(tmp_path: Path, function: Any) -> None:
    witness = tmp_path / "witness"
    command = f"__import__('pathlib').Path({str(witness)!r}).touch()" if function is eval else f"touch {witness}"
    for protocol in (0, 2, 5):
        pickled = pickle.dumps({"x": Call(function, command)}, protocol)
        path = archive(tmp_path / "w.pt", pickled)
        with pytest.raises(UsageError, match=rf"holds a \w+\.{function.__name__}, and only tensors are read"):
            read_state_dict(path)
    assert not witness.exists()


def ops(value: Any) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def one_tensor(*, offset: int, size: tuple[int, ...], stride: tuple[int, ...], count: int) -> bytes:
    """Return the pickle of {"x": a float32 tensor over record 0}, as PyTorch spells it."""
    storage = b"(" + ops("storage") + b"ctorch\nFloatStorage\n" + ops("0") + ops("cpu") + ops(count) + b"tQ"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + ops(offset) + ops(size) + ops(stride) + b"tR"
    return b"\x80\x02}" + ops("x") + view + b"s."


SIX = np.arange(6, dtype="<f4").tobytes()
SMALL = st.integers(-1, 7)


@given(offset=SMALL, sides=st.lists(st.tuples(SMALL, SMALL), max_size=3))
def test_a_view_is_right_or_refused(tmp_path_factory: pytest.TempPathFactory, offset: int,
                                    sides: list[tuple[int, int]]) -> None:
    size, stride = tuple(n for n, _ in sides), tuple(step for _, step in sides)
    path = archive(tmp_path_factory.getbasetemp() / "view.pt",
                   one_tensor(offset=offset, size=size, stride=stride, count=6), data__0=SIX)
    if min((offset, *size, *stride)) < 0:
        with pytest.raises(UsageError, match="negative"):
            read_state_dict(path)
        return
    places = [offset + sum(i * step for i, step in zip(index, stride, strict=True)) for index in np.ndindex(*size)]
    if max(places, default=0) > 5:
        with pytest.raises(UsageError, match="outside its record"):
            read_state_dict(path)
    else:
        found = read_state_dict(path)["x"]
        assert found.shape == size
        assert found.ravel().tolist() == places


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pt", one_tensor(offset=0, size=(6,), stride=(1,), count=6),
                   data__0=np.arange(6, dtype=">f4").tobytes(), byteorder=b"big")
    assert read_state_dict(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("pickled", "records", "match"), [
    (one_tensor(offset=0, size=(6,), stride=(1,), count=7), {"data__0": SIX}, "6 elements of 7"),
    (one_tensor(offset=0, size=(6,), stride=(1,), count=6), {}, "archive/data/0"),
    (one_tensor(offset=0, size=(2**40, 2**40), stride=(0, 0), count=6), {"data__0": SIX}, "too big"),
    (pickle.dumps([1, 2]), {}, "holds no tensors by name"),
    (pickle.dumps({}), {}, "holds no tensors by name"),
    (pickle.dumps({"lr": 0.1}), {}, "a float named 'lr', not a tensor"),
    (b"", {}, "Ran out of input"),
    (b"\x80\x02}\x82\x01s.", {}, "unregistered extension code"),
])
def test_malformed_archives_are_refused(tmp_path: Path, pickled: bytes, records: dict[str, bytes], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_state_dict(archive(tmp_path / "w.pt", pickled, **records))


def test_a_compressed_record_is_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pt", b"\x00" * 1000, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match="record .data.pkl. is compressed"):
        read_state_dict(path)


@given(place=st.integers(0, MIXED.stat().st_size - 1), value=st.integers(0, 255))
def test_a_damaged_byte_gives_tensors_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, place: int,
                                                       value: int) -> None:
    content = bytearray(MIXED.read_bytes())
    content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(content)
    try:
        found = read_state_dict(path)
    except UsageError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


# Writing


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    drawn = {name: np.asfortranarray(array) for name, array in initial_params(GRAPH, 3).items()}
    write_params(tmp_path / "w.safetensors", drawn)
    assert same(read_weights(tmp_path / "w.safetensors", GRAPH), drawn)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.safetensors"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken" / "by-a-folder").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cannot write parameters to .*taken"):
        write_params(tmp_path / "taken", COUNTING)
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
    with pytest.raises(UsageError, match="cannot write parameters"):
        write_params(tmp_path / "no-such-folder" / "w.safetensors", COUNTING)
