"""Dropout in training: right masks pass, whatever their streams; a backend that is wrong in any way is caught."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from broken_dropout import MISTAKES, Masks, dropping
from group import Worker, observed

from dlcompare.core.conformance import dropout, expectation, oracle
from dlcompare.core.conformance.cases import Case
from dlcompare.core.conformance.check import Check, Expected
from dlcompare.core.plugins.job import Job


def case_of(workers: int) -> tuple[Case, Job]:
    job = Job("reference", "resnet18", workers=workers)
    case = oracle.case(dropout.NAME, job)
    return case, oracle.case_job(case, job)


@functools.cache
def wanted(workers: int) -> Expected:
    return expectation.derive(*case_of(workers))


def failed(make: type[Worker], workers: int) -> list[Check]:
    case, job = case_of(workers)
    checks = oracle.judge(case, observed(case, job, make), wanted(workers))
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_right_masks_pass(workers: int) -> None:
    assert not failed(dropping(Masks), workers)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught_and_its_layer_named(name: str) -> None:
    mistake = MISTAKES[name]
    found = failed(mistake.make, mistake.workers)
    assert found and oracle.first_divergence(case_of(1)[0], found) == mistake.layer


def test_each_statistic_has_a_mistake_that_it_catches() -> None:
    caught = {check.quantity for name in MISTAKES for check in failed(MISTAKES[name].make, MISTAKES[name].workers)}
    judged = oracle.judge(case_of(2)[0], observed(*case_of(2), dropping(Masks)), wanted(2))
    assert {check.quantity for check in judged} <= caught


def test_one_stream_for_all_ranks_does_not_show_with_one() -> None:
    assert not failed(MISTAKES["one mask on all ranks"].make, 1)


def test_false_alarms_are_rarer_than_one_in_a_billion() -> None:
    """Hoeffding's bound holds for any share; a thousand right draws come nowhere near it."""
    judged = oracle.judge(case_of(2)[0], observed(*case_of(2), dropping(Masks)), wanted(2))
    draws = 3 + 1 + 1 + 3 + 2  # shares of zeros, and pairs of steps, samples, workers and neighbours
    assert draws * dropout.CHANCE <= 1e-9
    assert sum("zeros" in c.quantity or "differ" in c.quantity for c in judged) <= draws
    for size in (2048, 16384):
        found = np.random.default_rng(size).binomial(size, 1 - dropout.RATE, 1000) / size
        allowed = dropout.share("zeros", [np.ones(size)], 1.0).allowed
        assert abs(found - (1 - dropout.RATE)).max() < 0.8 * allowed
        assert math.isclose(2 * math.exp(-2 * size * allowed**2), dropout.CHANCE)


@pytest.mark.parametrize("lacking", ["before", "after", "table-0"])
def test_what_is_missing_or_misshapen_fails(lacking: str) -> None:
    case, job = case_of(1)
    seen = observed(case, job, dropping(Masks))
    for wrong in ({}, {f"training/{lacking}": np.zeros(3)}):
        shown = {k: v for k, v in seen.items() if k != f"training/{lacking}"} | wrong
        assert [c.quantity for c in oracle.judge(case, shown, wanted(1)) if not c.passed]


def test_the_reference_draws_no_masks_of_its_own() -> None:
    assert dropout.NAME in oracle.names(Job("pytorch-ddp", "resnet18"))
    assert dropout.NAME not in oracle.names(Job("reference", "resnet18"))
