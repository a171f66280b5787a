"""Counts against the published tables, by hand, and against what a batch needs."""

import csv
import math
from pathlib import Path

import pytest

from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph import cost as costs
from dlcompare.core.graph.cost import Cost, cost, least_traffic, least_training_flops, node_costs, training_bytes
from dlcompare.core.graph.ops import OPS, Tensor, trace
from dlcompare.models import dlcompare_models

with (Path(__file__).parents[2] / "golden" / "published_models.csv").open(newline="") as file:
    PUBLISHED = list(csv.DictReader(file))
GRAPHS = {model.name: model.graph() for model in dlcompare_models()}
IDS = [f"{row['model']}, {row['source']}" for row in PUBLISHED]


@pytest.mark.parametrize("row", PUBLISHED, ids=IDS)
def test_parameters_equal_the_published_ones_to_their_last_digit(row: dict[str, str]) -> None:
    printed = row["params_million"]
    digits = len(printed.partition(".")[2])
    assert f"{cost(GRAPHS[row['model']]).parameters / 1e6:.{digits}f}" == printed


@pytest.mark.parametrize("row", [row for row in PUBLISHED if row["model"] != "bert-squad"],
                         ids=[name for name in IDS if not name.startswith("bert-squad")])
def test_multiply_adds_are_within_two_percent_of_the_published_ones(row: dict[str, str]) -> None:
    counted = cost(GRAPHS[row["model"]]).multiply_adds / 1e9
    assert counted == pytest.approx(float(row["giga_multiply_adds"]), rel=0.02)


def test_the_published_count_of_bert_squad_is_not_its_multiply_adds() -> None:
    """Ren et al. print 2.87 G operations per instance. The network takes 35.3 G, so that figure is not held to.

    Every token goes through the encoder's matrices: 12 layers of 4 * 768^2 + 2 * 768 * 3072 = 7.08 M weights, times
    384 tokens = 32.6 G multiply-adds for the dense layers alone, eleven times what is printed. The printed figure is
    near what follows when each matrix is counted once per sample instead of once per token (0.085 G) and the two
    attention products in full (2.72 G): 2.80 G. That neglects the sequence in the dense layers.
    """
    printed = next(float(row["giga_multiply_adds"]) for row in PUBLISHED if row["model"] == "bert-squad") * 1e9
    matrices = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    attention = 12 * 2 * 384 * 384 * 768
    heads = 384 * 768 * 2 + 768 * 768  # the span head on every token, the pooler on one
    assert cost(GRAPHS["bert-squad"]).multiply_adds == matrices * 384 + attention + heads == 35_333_996_544
    assert matrices * 384 > 11 * printed
    assert matrices + attention == pytest.approx(printed, rel=0.03)


@pytest.mark.parametrize(("model", "parameters", "giga_multiply_adds"), [
    ("googlenet", 6_624_904, 1.498), ("inception_v3", 27_161_264 - 3_326_696, 5.713)])
def test_what_the_logits_need_is_counted_without_the_auxiliary_classifiers(
        model: str, parameters: int, giga_multiply_adds: float) -> None:
    """Hold against the numbers that torchvision 0.28 keeps beside its checkpoints, which leave out GoogLeNet's two.

    They count Inception v3's: 768 * 128 + 2 * 128, 128 * 768 * 25 + 2 * 768, 768 * 1000 + 1000 parameters.
    """
    graph = GRAPHS[model]
    trunk = cost(Graph("", graph.inputs, graph.needed("logits"), {"logits": graph.outputs["logits"]}))
    assert trunk.parameters == parameters
    assert trunk.multiply_adds / 1e9 == pytest.approx(giga_multiply_adds, abs=6e-4)


def small(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    x = image.conv(4, kernel=3, stride=2, pad=1, name="conv").batch_norm(name="bn").relu(name="relu")
    logits = x.flatten(name="flatten").dense(5, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


@pytest.fixture
def graph() -> Graph:
    return trace("small", small, {"image": Input((3, 6, 6)), "label": Input((), "int64", "label", high=5)})


def test_each_node_is_counted_by_hand(graph: Graph) -> None:
    assert node_costs(graph) == {
        "conv": Cost(4 * 3 * 9 + 4, 0, 4 * 3 * 9 * (3 * 3), 4 * 3 * 3),
        "bn": Cost(8, 8, 0, 36),
        "relu": Cost(0, 0, 0, 36),
        "flatten": Cost(0, 0, 0, 36),
        "fc": Cost(36 * 5 + 5, 0, 36 * 5, 5),
        "loss": Cost(0, 0, 0, 1),
    }


def test_the_total_is_the_sum_and_has_bytes_and_flops(graph: Graph) -> None:
    total = cost(graph)
    assert total == Cost(112 + 8 + 185, 8, 972 + 180, 150)
    assert total.parameter_bytes == 4 * 313
    assert total.activation_bytes == 4 * 150
    assert total.training_flops == 6 * 1152


def test_training_bytes_are_weights_three_times_and_what_the_backward_pass_needs(graph: Graph) -> None:
    fixed = 4 * (3 * 305 + 8)
    image, conv, relu, logits, label = 4 * 3 * 36, 4 * 36, 4 * 36, 4 * 5, 8  # flatten is a view
    assert training_bytes(graph, 1) == fixed + image + conv + relu + logits + label
    assert training_bytes(graph, 7) - fixed == 7 * (training_bytes(graph, 1) - fixed)


def test_what_the_loss_does_not_reach_is_not_kept() -> None:
    with_pooler = GRAPHS["bert-tiny"]
    without = Graph("", with_pooler.inputs, with_pooler.needed("loss"), {"loss": "loss"})
    pooler = 4 * 3 * (64 * 64 + 64)
    assert training_bytes(with_pooler, 3) == training_bytes(without, 3) + pooler


def test_attention_counts_both_products_for_its_own_number_of_keys() -> None:
    def build(query: Tensor, memory: Tensor, mask: Tensor, label: Tensor) -> dict[str, Tensor]:
        x = query.attention(memory, memory, mask, heads=2, name="attention").flatten(name="flatten")
        return {"loss": x.cross_entropy(label, name="loss")}

    graph = trace("cross", build, {"query": Input((3, 8)), "memory": Input((5, 8)),
                                   "mask": Input((5,), "int64", "mask"), "label": Input((), "int64", "label")})
    assert node_costs(graph)["attention"].multiply_adds == 2 * 3 * 5 * 8


def test_a_recurrent_layer_counts_both_products_at_every_step() -> None:
    """The large network of Zaremba et al. 2014, "Recurrent Neural Network Regularization": 66 M parameters.

    Of 0.102 G operations for each word (Wang et al. 2020) a multiply-add is two.
    """
    def build(ids: Tensor) -> dict[str, Tensor]:
        y = ids.embedding(10_000, 1500).lstm(1500, name="lstm").lstm(1500).dense(10_000)
        return {"loss": y.mean_square()}

    graph = trace("words", build, {"ids": Input((20,), "int64", "ids", 10_000)})
    assert node_costs(graph)["lstm"] == Cost(2 * 4 * 1500 * (1500 + 1), 0, 20 * 2 * 4 * 1500 * 1500, (20 + 2) * 1500)
    assert cost(graph).parameters == 66_034_000 and cost(graph).multiply_adds == 20 * 51_000_000


def test_a_gru_has_three_gates() -> None:
    graph = trace("gru", lambda x: {"loss": x.gru(5, name="gru").mean_square()}, {"x": Input((4, 7))})
    assert node_costs(graph)["gru"] == Cost(3 * 5 * (7 + 5 + 2), 0, 4 * 3 * 5 * (7 + 5), (4 + 1) * 5)


def test_every_op_says_whether_it_multiplies_and_what_it_keeps() -> None:
    assert set(OPS) == set(costs.MULTIPLY_ADDS) | costs.NO_PRODUCTS
    assert not set(costs.MULTIPLY_ADDS) & costs.NO_PRODUCTS
    assert set(OPS) == costs.KEEPS_INPUTS | costs.KEEPS_OUTPUT | costs.KEEPS_NOTHING
    assert not costs.KEEPS_NOTHING & (costs.KEEPS_INPUTS | costs.KEEPS_OUTPUT)


def test_statistics_are_not_parameters() -> None:
    statistics = sum(math.prod(p.shape) for p in GRAPHS["resnet50"].params().values() if not p.trained)
    assert cost(GRAPHS["resnet50"]).statistics == statistics == 53_120


def test_the_fewest_operations_leave_out_what_may_be_spared() -> None:
    """Of three convolutions: Winograd's share of the 3 x 3 ones of stride 1; no gradient of the image; no dead end."""
    def build(image: Tensor, label: Tensor) -> dict[str, Tensor]:
        x = image.conv(4, 3, pad=1, name="first").conv(4, 3, stride=2, name="second").conv(4, 1, name="third")
        x.flatten(name="aside").dense(9, name="dead end")
        return {"loss": x.flatten(name="flat").dense(2, name="dense").cross_entropy(label, name="loss"),
                "other": x}

    graph = trace("three", build, {"image": Input((3, 8, 8)), "label": Input((), "int64", "label")})
    count = {name: one.multiply_adds for name, one in node_costs(graph).items()}
    spared = (6 / 12) ** 2
    assert least_training_flops(graph) == pytest.approx(
        2 * (2 * count["first"] * spared + 3 * count["second"] + 3 * count["third"] + 3 * count["dense"]))


def test_the_least_traffic_grows_with_the_batch_and_halves_with_its_bytes() -> None:
    graph = GRAPHS["resnet50"]
    fixed = 32 * cost(graph).parameters
    for_one = least_traffic(graph, 1) - fixed
    assert least_traffic(graph, 6) - fixed == 6 * for_one
    assert least_traffic(graph, 6, activation_bytes=2) - fixed == pytest.approx(3 * for_one)
