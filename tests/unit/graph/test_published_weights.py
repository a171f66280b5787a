"""Checkpoints in the forms in which they are published; the PyTorch files were written by a real PyTorch."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.fit import nearest
from dlcompare.core.graph.naming import find
from dlcompare.core.graph.params import Weights, initial_params, load_weights
from dlcompare.core.plugins.registry import plugins

from .test_params import COUNTING, GRAPH, STATE_DICTS, same

Arrays = Mapping[str, np.ndarray]
TINY = plugins().model("bert-tiny").graph()
GOOGLENET = plugins().model("googlenet").graph()


def graph_of(name: str, size: int | None = None) -> Graph:
    return plugins().model(name).graph(size)


def load(folder: Path, arrays: Arrays, graph: Graph = GRAPH, seed: int = 0) -> Weights:
    save_file(dict(arrays), folder / "w.safetensors")
    return load_weights(folder / "w.safetensors", graph, seed)


@pytest.mark.parametrize(("file", "unread"), [
    ("references.pth", {"optimizer (dict)", "epoch (int)", "model_ema (dict)", "args (argparse.Namespace)"}),
    ("tutorial.pt", {"epoch (int)", "loss (tensor)", "optimizer_state_dict (dict)"}),
    ("lightning.ckpt", {"epoch (int)", "pytorch-lightning_version (str)", "callbacks (dict)", "loss.weight",
                        "hyper_parameters (dict)"}),
    ("averaged.pt", {"n_averaged"}), ("compiled.pt", set()), ("compiled_layer.pt", set()), ("legacy.pt", set()),
    ("mixed.pt", set()), ("replica.pt", {"epoch (int)", "optimizer (dict)"})])
def test_a_published_form_is_read_and_what_was_passed_over_is_named(file: str, unread: set[str]) -> None:
    found = load_weights(STATE_DICTS / file, GRAPH)
    assert same(found.params, COUNTING)
    assert set(found.unread) == unread
    assert found.drawn == ()


@pytest.mark.parametrize("rename", [
    lambda name: f"module._orig_mod.{name}", lambda name: f"_orig_mod.module.{name}", lambda name: f"model.{name}",
    lambda name: f"_orig_mod.{name}" if name[0] == "f" else f"module.{name}", lambda name: f"model._orig_mod.{name}",
    lambda name: f"net.backbone.{name}"], ids=range(6))
def test_prefixes_are_seen_through(tmp_path: Path, rename: Callable[[str], str]) -> None:
    found = load(tmp_path, {rename(name): array for name, array in COUNTING.items()})
    assert same(found.params, COUNTING)
    assert not found.unread


def test_a_prefix_of_the_graphs_own_names_stays() -> None:
    """Layers of one name in every block must not be taken for one another."""
    graph = graph_of("resnet18", 32)
    params = initial_params(graph, 1)
    for prefix in ("", "module.", "layer1."):
        named = {f"{prefix}{name}": array for name, array in params.items()}
        assert {name: id(array) for name, array in find(named, graph).arrays.items()} == {
            name: id(array) for name, array in params.items()}


def bert(seed: int = 1) -> dict[str, np.ndarray]:
    return initial_params(TINY, seed)


def test_the_names_of_early_bert_are_read(tmp_path: Path) -> None:
    def early(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    assert sum(early(name) != name for name in bert()) == 10
    found = load(tmp_path, {early(name): array for name, array in bert().items()}, TINY)
    assert same(found.params, bert())


def encoder() -> dict[str, np.ndarray]:
    return {name: array for name, array in bert().items() if not name.startswith("qa_outputs")}


@pytest.mark.parametrize("prefix", ["", "bert.", "model.", "module.bert."])
def test_a_bare_encoder_has_its_head_drawn_from_the_seed(tmp_path: Path, prefix: str) -> None:
    named = {name.replace("bert.", prefix, 1): array for name, array in encoder().items()}
    found = load(tmp_path, named | {"cls.seq_relationship.weight": np.ones((2, 64), np.float32)}, TINY, seed=7)
    head = {name: array for name, array in initial_params(TINY, 7).items() if name.startswith("qa_outputs")}
    assert same(found.params, encoder() | head)
    assert found.drawn == ("qa_outputs.weight", "qa_outputs.bias")
    assert found.unread == ("cls.seq_relationship.weight",)


def test_a_head_by_another_name_is_not_drawn_over(tmp_path: Path) -> None:
    other = {"answers.weight": np.ones((2, 64), np.float32), "answers.bias": np.ones(2, np.float32)}
    with pytest.raises(UsageError, match=r"missing tensor 'qa_outputs.weight'.*unexpected tensor 'answers.bias'"):
        load(tmp_path, encoder() | other, TINY)


def test_half_a_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing tensor 'fc.bias'"):
        load(tmp_path, {name: array for name, array in COUNTING.items() if name != "fc.bias"})


def test_a_layer_that_others_come_after_is_never_drawn(tmp_path: Path) -> None:
    graph = graph_of("resnet18", 32)
    params = {name: array for name, array in initial_params(graph, 1).items() if not name.startswith("layer4.1.conv2")}
    with pytest.raises(UsageError, match=r"missing tensor 'layer4.1.conv2.weight'"):
        load(tmp_path, params, graph)


def test_auxiliary_heads_may_be_missing(tmp_path: Path) -> None:
    params = initial_params(GOOGLENET, 0)
    aux = {name for name in params if name.startswith("aux")}
    found = load(tmp_path, {name: array for name, array in params.items() if name not in aux}, GOOGLENET)
    assert aux and set(found.drawn) == aux
    with pytest.raises(UsageError, match=r"missing tensor 'aux1.conv.conv.weight'"):
        load(tmp_path, {name: array for name, array in params.items() if not name.startswith("aux1")}, GOOGLENET)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_by_their_index(tmp_path: Path, suffix: str) -> None:
    index = {}
    for number, names in enumerate((list(COUNTING)[:3], list(COUNTING)[3:])):
        save_file({name: COUNTING[name] for name in names}, tmp_path / f"part-{number}.{suffix}")
        index |= dict.fromkeys(names, f"part-{number}.{suffix}")
    path = tmp_path / f"model.{suffix}.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    assert same(load_weights(path, GRAPH).params, COUNTING)
    (tmp_path / f"part-1.{suffix}").unlink()
    with pytest.raises(UsageError, match=rf"names the shard 'part-1.{suffix}', which is not beside it; fetch all 2"):
        load_weights(path, GRAPH)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"x": "../w.safetensors"}}',
                                  '{"weight_map": {"x": "x.index.json"}}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    save_file(COUNTING, tmp_path.parent / "w.safetensors")
    (tmp_path / "x.index.json").write_text(text)
    with pytest.raises(UsageError, match=r"is no index of shards|is not an index of shards|is not beside it"):
        load_weights(tmp_path / "x.index.json", GRAPH)


def test_another_number_of_classes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    other = {"fc.weight": np.ones((7, 32), np.float32), "fc.bias": np.ones(7, np.float32)}
    with pytest.raises(UsageError, match=r"has shape \(7, 32\), wanted \(3, 32\).*7 classes.*give --classes 7$"):
        load(tmp_path, COUNTING | other)


def test_integers_are_no_parameters(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tensor 'fc.weight' holds int8 \(quantised"):
        load(tmp_path, COUNTING | {"fc.weight": np.ones((3, 32), np.int8)})


def test_a_name_without_end_takes_no_time() -> None:
    begin = time.process_time()
    assert find({"." * 1_000_000: np.ones(1), **COUNTING}, GRAPH).arrays.keys() == COUNTING.keys()
    assert time.process_time() - begin < 2


def test_suggestions_go_by_the_end_of_a_name(tmp_path: Path) -> None:
    names = ["bert.encoder.layer.1.output.dense.weight", "h.1.output.dense.bias"]  # the second is spelt more alike
    assert nearest("h.1.output.dense.weight", names) == names[0]
    assert nearest("fc.biass", ["fc.bias", "fc.weight"]) == "fc.bias"
    assert nearest("odd", ["fc.bias"]) is None
    params = {name: array for name, array in bert().items() if "layer.1.output.dense" not in name}
    odd = "blocks.1.output.dense.weight"
    with pytest.raises(UsageError) as caught:
        load(tmp_path, params | {odd: np.ones((64, 256), np.float32)}, TINY)
    assert f"unexpected tensor {odd!r} (nearest parameter: 'bert.encoder.layer.1.output.dense.weight')" in str(
        caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(tmp_path: Path, value: float) -> None:
    broken = COUNTING["fc.weight"].copy()
    broken[1, 2:5] = value
    with pytest.raises(UsageError, match=r"NaN or infinity: 3 of the 96 numbers of 'fc.weight' are not finite; no"):
        load(tmp_path, COUNTING | {"fc.weight": broken})
    with pytest.raises(UsageError, match=r"and 1 more parameters hold such"):
        load(tmp_path, COUNTING | {"fc.weight": broken, "fc.bias": np.full(3, value, np.float32)})
    assert load(tmp_path, COUNTING | {"stray": broken}).unread == ("stray",)


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NaN or infinity"):
        load(tmp_path, COUNTING | {"fc.bias": np.full(3, 1e300)})
