"""What bounds a training follows from measured rates and the graph; only what no program can pass refutes it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import cost, least_traffic, least_training_flops
from dlcompare.core.machine.collectives import Line
from dlcompare.core.machine.measured import EXCHANGE, MATRIX, MEMORY, Measured, Rate
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records import bounds as of
from dlcompare.core.records.bounds import (
    ARITHMETIC,
    INPUT,
    Bounds,
    Trained,
    above,
    beyond_measured,
    bounds_of,
    bounds_of_answers,
)
from dlcompare.core.reports.roofline.shares import near, sentence
from dlcompare.core.reports.text import to_text

VERSIONS = {"torch": "2.13.0", "python": "3.11.7", "numpy": "2.4.6"}
TRAINED = Trained("cpu", "fp32", 2, 1, 8, "pytorch-ddp", VERSIONS)


def rate(what: str, name: str, value: float, **more: Any) -> Rate:
    return Rate(what, name, value, 0.95 * value, 1.05 * value, 1.02 * value, 5, "", **{"by": "triad in C", **more})


RATES = (
    rate(MATRIX, "fp32", 200e9, by="pytorch-ddp", version="torch 2.13.0", threads=2),
    rate(MATRIX, "fp32", 5e13, by="jax", version="jax 0.10.2", device="cuda"),
    rate(MEMORY, "triad", 20e9, threads=2), rate(MEMORY, "copy", 2e12, device="cuda"),
    rate(EXCHANGE, "loopback", 2e9))
MACHINE = Measured({}, "2026-11-30T10:00:00+00:00", 60.0, RATES,
                   topology={"caches": [{"level": 3, "type": "unified", "bytes": 32 << 20, "count": 1}]})


def graph(name: str = "resnet18", size: int = 64) -> Graph:
    return plugins().model(name).graph(size, 10)


def test_each_bound_is_the_throughput_that_it_alone_would_allow() -> None:
    network = graph()
    found = bounds_of(network, TRAINED, MACHINE, 5000.0)
    total, moved = cost(network), least_traffic(network, 8)
    assert found.limits == pytest.approx({
        ARITHMETIC: 200e9 / total.training_flops, of.MEMORY: 20e9 * 8 / moved, INPUT: 5000.0,
        of.EXCHANGE: 16 / (total.parameters * 4 / 2e9)})
    assert found.intensity == pytest.approx(8 * total.training_flops / moved) and found.ridge == 10.0
    assert found.devices == 1 and not found.absent and not found.shares


def test_the_shares_are_of_a_throughput_and_the_nearest_bound_allows_least() -> None:
    found = bounds_of(graph(), TRAINED, MACHINE, 1e9).beside(100.0)
    assert found.shares[ARITHMETIC] == pytest.approx(100.0 / found.limits[ARITHMETIC])
    assert found.nearest == min(found.limits, key=lambda name: found.limits[name])


def test_gpus_each_have_their_own_units_and_workers_none_of_loopbacks_business() -> None:
    found = bounds_of(graph(), dataclasses.replace(TRAINED, device="cuda", framework="jax",
                                                   versions={"jax": "0.10.2"}), MACHINE, None)
    assert found.limits[ARITHMETIC] == pytest.approx(2 * 5e13 / cost(graph()).training_flops)
    assert found.devices == 2 and "not measured" in found.absent[of.EXCHANGE] and INPUT not in found.limits
    assert found.ceiling


def test_what_fits_into_the_caches_is_not_bound_by_memory() -> None:
    large = dataclasses.replace(MACHINE, topology={"caches": [{"level": 3, "type": "unified", "bytes": 1 << 34,
                                                               "count": 1}]})
    found = bounds_of(graph(), TRAINED, large, None)
    assert of.MEMORY not in found.limits and "fit into the caches" in found.absent[of.MEMORY]


def test_activations_of_two_bytes_move_less() -> None:
    half = bounds_of(graph(), dataclasses.replace(TRAINED, precision="bf16"), MACHINE, None)
    assert half.limits[of.MEMORY] > bounds_of(graph(), TRAINED, MACHINE, None).limits[of.MEMORY]
    assert half.peak is None and "no bf16 matrix products" in half.absent[ARITHMETIC]


def test_a_machine_that_was_not_measured_bounds_nothing_but_its_input_is_known() -> None:
    found = bounds_of(graph(), TRAINED, None, 500.0)
    assert found.limits == {INPUT: 500.0} and "dlcompare machine" in found.absent[ARITHMETIC]
    assert found.refutation(1e12) is None and found.peak is None and found.ceiling is None


def test_only_what_no_algorithm_can_do_is_impossible() -> None:
    """Above the peak by the model's operations may be Winograd's saving; above it by the fewest may not."""
    found, fewest = bounds_of(graph(), TRAINED, MACHINE, None), least_training_flops(graph())
    top = 1.1 * 1.05 * 200e9 / fewest
    assert found.ceiling == pytest.approx(top) and found.limits[ARITHMETIC] < top
    assert found.refutation(0.999 * top) is None
    reason = found.refutation(1.001 * top)
    assert reason and reason.startswith("impossible") and "dlcompare machine --again" in reason


@pytest.mark.parametrize("trained", [
    dataclasses.replace(TRAINED, framework="mxnet"), dataclasses.replace(TRAINED, versions={"torch": "2.14.0"}),
    dataclasses.replace(TRAINED, device="cuda")])
def test_a_framework_that_was_not_measured_itself_may_be_better_than_the_best_that_was(trained: Trained) -> None:
    found = bounds_of(graph(), trained, MACHINE, None)
    assert found.ceiling is None and found.refutation(1e12) is None and ARITHMETIC in found.limits


def test_a_throughput_above_a_bound_that_physics_does_not_set_is_doubted() -> None:
    found = Bounds(limits={INPUT: 100.0, of.MEMORY: 500.0}).beside(120.0)
    assert [(one.kind, one.values["bound"], one.values["share"]) for one in above(found)] == [
        ("above bound", INPUT, pytest.approx(1.2))]
    assert above(Bounds(limits={INPUT: 100.0}).beside(105.0)) == ()


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "bert-tiny", "googlenet", "inception_v3"])
def test_the_fewest_operations_are_no_more_than_the_models(name: str) -> None:
    network = plugins().model(name).graph(None, None)
    assert 0 < least_training_flops(network) < cost(network).training_flops
    assert least_training_flops(network) > cost(network).training_flops / 8


def test_people_read_shares_and_room() -> None:
    said = sentence(bounds_of(graph(), TRAINED, MACHINE, 1000.0), 50.0)
    assert "of what its matrix units give (pytorch-ddp, fp32)" in said
    assert "the input pipeline would allow 20x as much" in said and "the nearest bound is" in said


def test_people_read_what_the_exchange_is_bounded_by() -> None:
    assert "handing gradients over (by loopback alone)" in sentence(
        bounds_of(graph(), TRAINED, MACHINE, None), 50.0)
    line = Line("pytorch-ddp", "torch 2.13.0", "cpu", "all_reduce", 2, 1, 0.0, 1e-9, (1 << 10, 1 << 24), (1 << 24,),
                "run", "2026-11-29")
    for machine in (MACHINE, None):
        found = bounds_of(graph(), TRAINED, machine, 5000.0, line)
        assert found.limits[of.EXCHANGE] == pytest.approx(16 / (cost(graph()).parameters * 4 * 1e-9))
        assert found.limits[INPUT] == 5000.0 and "by its own all-reduce, measured 2026-11-29" in sentence(found, 50.0)
        bent = bounds_of(graph(), TRAINED, machine, 5000.0, dataclasses.replace(line, met=(1 << 10,)))
        assert bent == bounds_of(graph(), TRAINED, machine, 5000.0), "it does not hold for messages of this size"
    assert line.holds(1 << 27) and not line.holds((1 << 27) + 1), "so far beyond what was measured nobody knows"


@pytest.mark.parametrize(("framework", "told"), [("jax", True), ("mxnet-horovod", False)])
def test_who_has_an_all_reduce_of_its_own_is_told_how_to_measure_it(framework: str, told: bool) -> None:
    one = SimpleNamespace(framework=framework, bounds=bounds_of(graph(), TRAINED, MACHINE, None))
    text = " ".join(to_text(list(near([(1, framework, one, 50.0)])), 200).split())
    assert ("dlcompare comm measures frameworks' own all-reduce" in text) == told


def test_a_rate_of_arithmetic_is_held_to_the_measured_peak() -> None:
    peak = RATES[0]
    top = 1.1 * 1.05 * 200e9
    assert beyond_measured(0.999 * top, peak) is None and beyond_measured(1e30, None) is None
    assert str(beyond_measured(1.001 * top, peak)).startswith("impossible: by the fewest operations")


def test_answers_have_the_matrix_units_for_a_yardstick_and_no_ceiling() -> None:
    found = bounds_of_answers(graph(), "cpu", "fp32", 2, MACHINE)
    assert found.limits == pytest.approx({ARITHMETIC: 200e9 / (2 * cost(graph()).multiply_adds)})
    assert found.ceiling is None and found.refutation(1e12) is None
    assert "no fp16 matrix products" in bounds_of_answers(graph(), "cpu", "fp16", 2, MACHINE).absent[ARITHMETIC]
    assert bounds_of_answers(graph(), "cpu", "fp32", 2, None).limits == {}
