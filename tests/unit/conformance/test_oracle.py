"""The conformance suite: right backends pass, and every wrong one is caught by the case that pins what it got wrong."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
from broken import MISTAKES, Asynchronous, NoSynchronisation, SummedGradients, with_op
from broken_ops import BiasedRunningVariance, SamePadding
from group import Rounded, Worker, observed

from dlcompare.core.conformance import cases, dropout, expectation, oracle
from dlcompare.core.conformance.cases import RECIPES, Case
from dlcompare.core.conformance.check import Check, Expected
from dlcompare.core.conformance.expectation import FACTOR, ROUNDING
from dlcompare.core.graph.ops import OPS
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks.reference.ops import TABLE
from dlcompare.frameworks.reference.unit import Op

(RESIDUAL,) = tiny.dlcompare_models()
TRAINED = [name for name, recipe in RECIPES.items() if recipe.trains]


@functools.cache
def case_of(name: str, workers: int = 1, precision: str = "fp32") -> tuple[Case, Job]:
    job = Job("reference", RESIDUAL.name, workers=workers, batch=8, precision=precision)
    case = cases.tiny(name) if name in RECIPES else oracle.whole(RESIDUAL, job)
    return case, oracle.case_job(case, job)


@functools.cache
def wanted(name: str, workers: int = 1, precision: str = "fp32") -> Expected:
    return expectation.derive(*case_of(name, workers, precision))


def checked(name: str, make: type[Worker] = Worker, workers: int = 1) -> list[Check]:
    case, job = case_of(name, workers)
    return oracle.judge(case, observed(case, job, make), wanted(name, workers))


def failed(checks: list[Check]) -> dict[str, str]:
    return {c.quantity: f"{c.case}: off by {c.error:.2g}, allowed {c.allowed:.2g}" for c in checks if not c.passed}


def divergence(name: str, checks: list[Check]) -> str | None:
    return oracle.first_divergence(case_of(name)[0], checks)


@pytest.mark.parametrize("make", [Worker, Rounded])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("name", RECIPES)
def test_a_right_backend_passes(name: str, workers: int, make: type[Worker]) -> None:
    checks = checked(name, make, workers)
    assert not failed(checks)
    assert divergence(name, checks) is None


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught_by_its_case_and_its_layer_named(name: str) -> None:
    mistake = MISTAKES[name]
    checks = checked(mistake.case, mistake.make, mistake.workers)
    assert failed(checks)
    assert divergence(mistake.case, checks) == mistake.layer


@pytest.mark.parametrize("name", [name for name, m in MISTAKES.items() if m.op and m.op != "cross_entropy"])
def test_a_wrong_op_fails_no_case_without_it(name: str) -> None:
    mistake = MISTAKES[name]
    others = [r for r in RECIPES if mistake.op not in {n.op for n in case_of(r)[0].graph.nodes}]
    assert others
    assert not any(failed(checked(other, mistake.make)) for other in others)


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.workers > 1])
def test_one_worker_does_not_show_what_takes_two(name: str) -> None:
    assert not failed(checked(MISTAKES[name].case, MISTAKES[name].make, 1))


def test_every_case_has_a_mistake_that_it_catches() -> None:
    assert {mistake.case for mistake in MISTAKES.values()} == set(RECIPES)


class Off:
    """An op whose results, or gradients, are off by a ten-thousandth."""

    def __init__(self, right: Op, *, forward: float = 0.0, backward: float = 0.0) -> None:
        self.right, self.more, self.steeper = right, 1 + forward, 1 + backward

    def forward(self, call):
        result, saved = self.right.forward(call)
        return times(result, self.more), saved

    def backward(self, call, saved, grad):
        return self.right.backward(call, saved, times(grad, self.steeper))

    def running(self, call, saved):
        return self.right.running(call, saved)


def times(values, factor):
    """Return an array, or each of several, times a factor."""
    return tuple(value * factor for value in values) if isinstance(values, tuple) else values * factor


def trained_case_with(op: str) -> str:
    return next(r for r in reversed(TRAINED) if op in {n.op for n in case_of(r)[0].graph.nodes})


@pytest.mark.parametrize("op", sorted(OPS.keys() - {"dropout"}))
def test_a_result_off_by_a_ten_thousandth_is_caught(op: str) -> None:
    name = trained_case_with(op)
    named = divergence(name, checked(name, with_op(op, Off(TABLE[op], forward=1e-4))))
    assert named is not None and named.startswith(op) and named.endswith("(forward)")


@pytest.mark.parametrize("op", sorted(OPS.keys() - {"dropout"}))
def test_a_gradient_off_by_a_ten_thousandth_is_caught(op: str) -> None:
    name = trained_case_with(op)
    named = divergence(name, checked(name, with_op(op, Off(TABLE[op], backward=1e-4))))
    assert named is not None and named.endswith("(gradient)")


def noisy(name: str, workers: int, amplitude: float) -> list[Check]:
    rng = np.random.default_rng(5)
    case, job = case_of(name, workers)
    seen = expectation.expect(case, job, noise=lambda x: np.asarray(
        x * (1 + amplitude * rng.uniform(-1, 1, x.shape))))
    return oracle.judge(case, seen, wanted(name, workers))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_rounding_passes_and_thirty_times_as_much_fails(name: str, workers: int) -> None:
    for _ in range(5):
        assert not failed(noisy(name, workers, ROUNDING["fp32"]))
        assert failed(noisy(name, workers, 30 * ROUNDING["fp32"]))


@pytest.mark.parametrize("name", RECIPES)
def test_no_tolerance_is_wider_than_a_thousandth(name: str) -> None:
    allowed = wanted(name).allowed
    assert not {k: v for k, v in allowed.items() if v > 1e-3}
    assert min(allowed.values()) >= FACTOR * ROUNDING["fp32"]


def test_a_single_number_takes_the_tolerance_of_the_worst_of_its_kind() -> None:
    exact = {"evaluation/y": np.ones(3), "evaluation/loss": np.array(1.0), "activation/loss": np.array(1.0)}
    moved = {"evaluation/y": 0.01, "evaluation/loss": 1e-9, "activation/loss": 1e-9}
    allowed = expectation.tolerances(exact, dict.fromkeys(exact, 1.0), moved, 1e-6)
    assert allowed["evaluation/loss"] == allowed["evaluation/y"] == expectation.SLACK * 0.01
    assert allowed["activation/loss"] == expectation.SLACK * 1e-6


@pytest.mark.parametrize("model", ["tiny-residual", "bert-tiny"])
def test_on_a_whole_model_no_tolerance_swallows_what_training_did(model: str) -> None:
    job = Job("reference", model, batch=4)
    case = oracle.whole(RESIDUAL, job) if model == RESIDUAL.name else oracle.case("model", job)
    want = expectation.derive(case, oracle.case_job(case, job))
    null = {k for k in case.graph.trained() if np.linalg.norm(want.exact[f"gradient/{k}"]) < 1e-9}
    for name in {*case.params} - null - (case.params.keys() - {*case.graph.trained()}):
        quantity = f"parameter/{name}"
        change = np.linalg.norm(want.exact[quantity] - case.params[name])
        assert want.allowed[quantity] * want.size[quantity] < 0.5 * change, name


@pytest.mark.parametrize("name", ["conv-symmetric-padding", "gelu", "sgd"])
def test_bfloat16_is_given_the_room_it_needs_and_no_more(name: str) -> None:
    single, half = wanted(name).allowed, wanted(name, precision="bf16").allowed
    assert all(1e3 < half[k] / single[k] < 2e4 for k in single)


def test_what_is_missing_misshapen_or_not_a_number_fails() -> None:
    case, job = case_of("unreached-parameters")
    seen, want = observed(case, job), wanted("unreached-parameters")
    del seen["gradient/fc1.bias"], seen["activation/aside"]
    seen |= {"parameter/fc1.weight": np.zeros(3), "loss": seen["loss"] * np.nan}
    assert set(failed(oracle.judge(case, seen, want))) == {"gradient/fc1.bias", "parameter/fc1.weight", "loss"}
    del seen["activation/fc1"]
    assert "activation/fc1" in failed(oracle.judge(case, seen, want))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("make", [Worker, Rounded, Asynchronous])
def test_a_right_backend_passes_on_a_whole_model(make: type[Worker], workers: int) -> None:
    assert not failed(checked("model", make, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_that_stops_before_the_work_is_caught(workers: int) -> None:
    assert set(failed(checked("model", NoSynchronisation, workers))) == {"clock"}


def test_a_clock_that_was_not_checked_fails() -> None:
    case, job = case_of("model")
    seen = observed(case, job)
    del seen["clock"]
    assert set(failed(oracle.judge(case, seen, wanted("model")))) == {"clock"}


@pytest.mark.parametrize(("make", "workers", "layer"), [
    (with_op("conv", SamePadding()), 1, "conv 'conv1' (forward)"),
    (with_op("batch_norm", BiasedRunningVariance()), 1, "batch_norm 'bn2' (after 3 steps)"),
    (SummedGradients, 2, "dense 'fc' (gradient)"),
])
def test_the_first_layer_of_a_model_that_diverges_is_named(make: type[Worker], workers: int, layer: str) -> None:
    assert divergence("model", checked("model", make, workers)) == layer


def test_a_whole_model_is_verified_without_dropout() -> None:
    case, _ = case_of("model", 2)
    assert RESIDUAL.graph().node("dropout").attrs["rate"] == 0.5 and case.graph.node("dropout").attrs["rate"] == 0
    assert case.name == "tiny-residual" and len(case.batches[0]["image"]) == 16


def test_the_cases_of_a_job_are_all_the_tiny_ones_and_its_model() -> None:
    job = Job("reference", "resnet18", image_size=32, batch=2)
    assert oracle.names(job) == (*RECIPES, "model")
    assert oracle.names(Job("jax", "resnet18")) == (*RECIPES, dropout.NAME, "model")
    assert oracle.case("sgd", job).name == "sgd" and oracle.case("model", job).name == "resnet18"


def test_a_case_is_the_same_in_every_process() -> None:
    for name in RECIPES:
        one, other = cases.tiny(name), cases.tiny(name)
        assert one.graph == other.graph and one.pins
        np.testing.assert_equal((one.params, one.batches), (other.params, other.batches))


def test_the_learning_rate_of_a_case_changes_at_each_step() -> None:
    for name in ("sgd", "model"):
        case, job = case_of(name)
        assert len({oracle.learning_rate(job, step=s) for s in range(len(case.batches))}) == len(case.batches) > 2


def test_ranks_share_a_batch_without_overlap() -> None:
    parts = [oracle.share({"x": np.arange(8)}, rank=rank, world=4)["x"].tolist() for rank in range(4)]
    assert parts == [[0, 1], [2, 3], [4, 5], [6, 7]]


ROOT = Path(__file__).parents[3]
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text()
MEANINGS = SEMANTICS.partition("## Precision")[0]
ROWS = [line.strip("| ").split(" | ") for line in MEANINGS.splitlines() if line.startswith("| ")]
NAMED = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[-1])}


@pytest.mark.parametrize("name", [*RECIPES, dropout.NAME])
def test_the_semantics_name_the_case(name: str) -> None:
    assert name in NAMED


@pytest.mark.parametrize("name", sorted(NAMED - RECIPES.keys() - {"model", dropout.NAME}))
def test_the_semantics_name_only_what_is_there(name: str) -> None:
    assert (ROOT / name).is_file() and "/" in name


def test_every_meaning_names_what_fails_without_it() -> None:
    bare = [row[0] for row in ROWS if row[0] != "what" and not re.search("`|every case", row[-1])]
    assert len(ROWS) > 30 and not bare


def test_the_semantics_give_the_numbers_in_use() -> None:
    told = " ".join(SEMANTICS.split())
    assert f"for a = {FACTOR:g} roundings (2⁻²² in fp32, 2⁻¹² in tf32 and fp16, 2⁻⁹ in bf16" in told
    assert ROUNDING == {"fp32": 2.0**-22, "tf32": 2.0**-12, "bf16": 2.0**-9, "fp16": 2.0**-12}
    assert expectation.STORED == 2.0**-23
    assert f"by {expectation.SLACK:g} times what that noise did" in told
    assert f"in the worst of {expectation.TRIALS} trials," in told
    assert f"above {100 * oracle.HIDDEN:.0f} % of the whole" in told
    assert f"(rate {dropout.RATE:g})" in told and f"to {100 * dropout.LOOSE:g} %" in told
    assert f"a chance of {dropout.CHANCE:g}," in told
    assert f"after {cases.STEPS} steps ({oracle.STEPS} for a model)" in told
    assert "(learning rate 1e-4, with batch norm 1e-5)" in told and case_of("model")[1].lr == 1e-5
