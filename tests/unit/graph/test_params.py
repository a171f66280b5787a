"""Drawing, hashing, reading and writing parameters; the PyTorch files were written by a real PyTorch."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Input, Param
from dlcompare.core.graph.ops import Tensor, trace
from dlcompare.core.graph.params import INITIALISERS, initial_params, params_sha256, read_weights, write_params
from dlcompare.models import dlcompare_models

STATE_DICTS = Path(__file__).parents[2] / "golden" / "state_dicts"
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


@pytest.mark.parametrize("file", ["mixed.pt", "replica.pt", "legacy.pt"])
def test_a_state_dict_of_pytorch_is_read(file: str) -> None:
    found = read_weights(STATE_DICTS / file, GRAPH)
    assert same(found, COUNTING)
    assert all(v.dtype == np.float32 and v.flags.c_contiguous and v.flags.writeable for v in found.values())


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
    with pytest.raises(UsageError, match=r"missing tensor 'fc.bias', shape \(3,\) \(the file has a C64\)"):
        read_weights(tmp_path / "w.safetensors", GRAPH)
    with pytest.raises(UsageError, match=r"missing tensor 'conv.bias'.*torch.ComplexFloatStorage"):
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
    ("w.pt", b"", "neither safetensors nor a file of PyTorch's"),
    ("w.pt", MIXED.read_bytes()[:2000], "cut short"),
    ("w.pt", (STATE_DICTS / "legacy.pt").read_bytes()[:-10], "cut short"),
    ("w.pt", (STATE_DICTS / "legacy.pt").read_bytes()[:300], "cannot read"),
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


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.safetensors.index.json"])
def test_a_file_that_is_far_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / ("shard.pt" if name.endswith(".json") else name)
    with file.open("wb") as sparse:
        sparse.truncate(200 << 30)
    if name.endswith(".json"):
        (tmp_path / name).write_text(json.dumps({"weight_map": {"x": file.name}}))
    with pytest.raises(UsageError, match=r"has 200.00 GiB, and the parameters of 'small' take 0.00 GiB: more than 16"):
        read_weights(tmp_path / name, GRAPH)


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


def test_a_parameter_that_the_loss_does_not_reach_may_be_missing(tmp_path: Path) -> None:
    graph = next(m for m in dlcompare_models() if m.name == "bert-tiny").graph()
    params = initial_params(graph, 3)
    pooler = [name for name in params if name.startswith("bert.pooler.")]
    write_params(tmp_path / "w.safetensors", {k: v for k, v in params.items() if k not in pooler})
    read = read_weights(tmp_path / "w.safetensors", graph)
    assert pooler and set(read) == set(params)
    assert all(np.array_equal(read[k], params[k]) for k in params if k not in pooler)
