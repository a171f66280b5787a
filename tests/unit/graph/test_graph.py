"""Recording a model: shapes, names, and what is rejected."""

import json
from typing import Any

import pytest

from dlcompare.core.graph import Graph, Input, Node
from dlcompare.core.graph.alone import layers
from dlcompare.core.graph.cost import cost, node_costs
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


def rows(image: Tensor) -> Tensor:
    return image.select(0, 0)


def one(image: Tensor) -> Tensor:
    return rows(image).select(0, 0)


@pytest.mark.parametrize(("build", "words"), [
    (lambda image, label: {"logits": image}, "scalar output named 'loss'"),
    (lambda image, label: {"loss": image.flatten()}, "scalar output named 'loss'"),
    (lambda image, label: {"loss": image.relu(name="a").relu(name="a").flatten().cross_entropy(label)}, "'a'"),
    (lambda image, label: {"loss": image.add(image.flatten())}, "add"),
    (lambda image, label: {"loss": image.cross_entropy(label)}, "scalar label"),
    (lambda image, label: {"loss": image.cross_entropy(label, label)}, "scalar label"),
    (lambda image, label: {"loss": image.flatten().cross_entropy(label, label)}, "a float weight"),
    (lambda image, label: {"loss": image.conv(2, 3, stride=2, dilation=2).flatten().cross_entropy(label)}, "not both"),
    (lambda image, label: {"loss": image.split((1, 1), axis=0).flatten().cross_entropy(label)}, "not the 3 elements"),
    (lambda image, label: {"loss": image.split((1, 2), axis=0).result("2").mean_square()}, "it has: 1"),
    (lambda image, label: {"loss": image.result("1").mean_square()}, "an input of the model"),
    (lambda image, label: {"loss": image.relu(name="a:b").mean_square()}, "a colon"),
    (lambda image, label: {"loss": image.flatten().fold().mean_square()}, "two axes or more"),
    (lambda image, label: {"loss": image.unfold(2).mean_square()}, "do not divide into 2"),
    (lambda image, label: {"loss": image.fold().add(image.select(0, 0)).mean_square()}, "3 rows a sample"),
    (lambda image, label: {"y": image.fold(), "loss": image.mean_square()}, "several rows a sample"),
    (lambda image, label: {"loss": image.dense(4, share=image).mean_square()}, "an input of the model"),
    (lambda image, label: {"loss": image.dense(4, share=image.relu()).mean_square()}, "none in common"),
    (lambda image, label: {"loss": image.dense(5, share=image.dense(4)).mean_square()}, "one shape"),
    (lambda image, label: {"loss": image.lstm(4).mean_square()}, "reads a sequence"),
    (lambda image, label: {"loss": rows(image).lstm(4, state=(rows(image), label)).mean_square()}, "4 units is .4,"),
    (lambda image, label: {"loss": rows(image).lstm(8, state=(one(image),)).mean_square()}, "begin with is .h, c."),
    (lambda image, label: {"loss": rows(image).lstm(4, lengths=one(image)).mean_square()}, "one whole number"),
    (lambda image, label: {"loss": rows(image).lstm(4, lengths=label).result("c").mean_square()}, "it has: h"),
    (lambda image, label: {"loss": rows(image).gru(4, state=one(image)).mean_square()}, "4 units is .4,"),
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


def carrying(shape: tuple[int, ...], *, read: bool = True, follows: str = "after") -> Graph:
    def build(x: Tensor, h: Tensor) -> dict[str, Tensor]:
        y = x.gru(4, state=h, name="gru") if read else x.gru(4, name="gru")
        loss = (y if read else x).mean_square(name="loss")
        return {"after": y.result("h"), "loss": loss}

    return trace("carrying", build, {"x": Input((5, 3)), "h": Input(shape, role="carried", follows=follows)})


def test_an_input_is_carried_on_from_a_result() -> None:
    graph = carrying((4,))
    assert graph.carried() == {"h": "gru:h"} and trace("net", network, IMAGE).carried() == {}
    assert json.loads(graph.to_json().splitlines()[2])["follows"] == "after"
    assert "follows" not in graph.to_json().splitlines()[1]
    for layer in layers(graph):
        assert not layer.graph.carried()


@pytest.mark.parametrize(("shape", "how", "words"), [
    ((4,), {"follows": "before"}, "follows output 'before'; there is: after, loss"),
    ((5,), {"read": False}, "must be of its shape"), ((4,), {"read": False}, "that the loss needs")])
def test_an_input_that_nothing_can_follow_is_refused(shape: tuple[int, ...], how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        carrying(shape, **how)


def test_results_beyond_the_first_are_named_after_their_node() -> None:
    graph = trace("net", lambda image, label: {
        "loss": image.split((1, 2), axis=0, name="parts").result("1").mean_square(name="loss")}, IMAGE)
    parts, loss = graph.nodes
    assert parts.results == ("parts", "parts:1") and loss.inputs == ("parts:1",)
    assert graph.shapes()["parts:1"] == (2, 8, 8) and graph.node("parts:1") is parts
    assert [n.name for n in graph.needed("loss")] == ["parts", "loss"]


def test_a_shared_parameter_is_one() -> None:
    def build(image: Tensor, label: Tensor) -> dict[str, Tensor]:
        first = image.flatten().dense(192, name="first")
        again = first.relu().dense(192, share=first, name="again")
        return {"loss": again.dense(192, bias=False, share=again, name="third").cross_entropy(label)}

    graph = trace("net", build, IMAGE)
    assert list(graph.params()) == list(graph.trained()) == ["first.weight", "first.bias"]
    assert graph.node("third").param_name("weight") == "first.weight"
    assert cost(graph).parameters == 192 * 192 + 192


def test_rows_multiply_where_an_axis_is_folded() -> None:
    graph = trace("net", lambda image, label: {
        "loss": image.fold(name="fold").dense(4, name="fc").unfold(3, name="back").mean_square()}, IMAGE)
    assert {n.name: (n.shape, n.rows) for n in graph.nodes[:3]} == {
        "fold": ((8, 8), 3), "fc": ((8, 4), 3), "back": ((3, 8, 4), 1)}
    assert node_costs(graph)["fc"].multiply_adds == 3 * 8 * 8 * 4
    assert graph.node(graph.outputs["loss"]).rows == 1
    alone = layers(graph)[0].graph
    assert [(n.op, n.rows) for n in alone.nodes] == [("fold", 3), ("layer_scale", 3), ("dense", 3), ("mean_square", 1)]


def test_what_came_later_leaves_the_text_of_older_graphs_alone() -> None:
    graph = trace("net", network, IMAGE)
    assert all(json.loads(line).keys() == {"name", "op", "inputs", "attrs", "shape", "dtype", "params"}
               for line in graph.to_json().splitlines()[3:])
    assert "dilation" not in graph.to_json() and "weight\": null" not in graph.to_json()
