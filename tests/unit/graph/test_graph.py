"""Recording a model: shapes, names, and what is rejected."""

import json

import pytest

from dlcompare.core.graph import Graph, Input, Node
from dlcompare.core.graph.ops import Tensor, check, trace

IMAGE = {"image": Input((3, 8, 8)), "label": Input((), "int64", "label", 4)}


def network(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    x = image.conv(4, kernel=3, stride=2, pad=1, name="conv").relu()
    pooled = x.flatten().dense(5, name="unused")
    logits = x.flatten().dense(4, name="fc")
    return {"logits": logits, "pooled": pooled, "loss": logits.cross_entropy(label)}


def test_shapes_and_parameters_follow_the_rules() -> None:
    graph = trace("net", network, IMAGE)
    assert graph.node("conv").shape == (4, 4, 4)
    assert {k: p.shape for k, p in graph.params().items()} == {
        "conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "unused.weight": (5, 64), "unused.bias": (5,),
        "fc.weight": (4, 64), "fc.bias": (4,)}


def test_only_what_the_loss_reaches_is_trained() -> None:
    graph = trace("net", network, IMAGE)
    assert graph.trained() == ("conv.weight", "conv.bias", "fc.weight", "fc.bias")
    assert "unused" in [n.name for n in graph.needed()]
    assert "unused" not in [n.name for n in graph.needed("loss")]


def test_running_statistics_are_parameters_but_not_trained() -> None:
    graph = trace("bn", lambda image, label: {
        "loss": image.batch_norm(name="bn").flatten().cross_entropy(label)}, IMAGE)
    assert set(graph.params()) - set(graph.trained()) == {"bn.running_mean", "bn.running_var"}


def test_unnamed_nodes_get_different_names() -> None:
    graph = trace("net", network, IMAGE)
    names = [n.name for n in graph.nodes]
    assert len(names) == len(set(names))


def test_text_of_a_graph_is_one_json_object_a_line() -> None:
    lines = trace("net", network, IMAGE).to_json().splitlines()
    assert json.loads(lines[0])["outputs"]["logits"] == "fc"
    assert [json.loads(line)["op"] for line in lines[3:5]] == ["conv", "relu"]


@pytest.mark.parametrize(("build", "words"), [
    (lambda image, label: {"logits": image}, "scalar output named 'loss'"),
    (lambda image, label: {"loss": image.flatten()}, "scalar output named 'loss'"),
    (lambda image, label: {"loss": image.relu(name="a").relu(name="a").flatten().cross_entropy(label)}, "'a'"),
    (lambda image, label: {"loss": image.add(image.flatten())}, "add"),
    (lambda image, label: {"loss": image.cross_entropy(label)}, "scalar label"),
    (lambda image, label: {"loss": image.max_pool(9, 1).flatten().cross_entropy(label)}, "too small"),
    (lambda image, label: {"loss": image.max_pool(9, 2, ceil=True).flatten().cross_entropy(label)}, "too small"),
    (lambda image, label: {"loss": image.max_pool(2, 2, pad=1, ceil=True).flatten().cross_entropy(label)},
     "kernel >= stride"),
    (lambda image, label: {"loss": image.concat(image.max_pool(2, 2)).flatten().cross_entropy(label)},
     "one height and width"),
    (lambda image, label: {"loss": image.flatten().concat(image.flatten()).cross_entropy(label)}, "joins images"),
])
def test_a_wrong_model_is_rejected_with_a_reason(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trace("wrong", build, IMAGE)


def test_an_ill_formed_graph_is_rejected_by_its_first_bad_node() -> None:
    graph = trace("net", network, IMAGE)
    swapped = Graph(graph.name, graph.inputs, tuple(reversed(graph.nodes)), graph.outputs)
    with pytest.raises(ValueError, match="no earlier node makes"):
        check(swapped)
    with pytest.raises(ValueError, match="uses op 'softmin'"):
        check(Graph("x", graph.inputs, (Node("n", "softmin", ("image",), {}, (3,)),), {}))
