"""Optimisers: how a job names one, and the arithmetic that kernels without corrections are given."""

from __future__ import annotations

import math

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.optimiser import NAMES, Optimiser, parse


def test_a_name_alone_has_the_usual_numbers() -> None:
    assert [parse(name).name for name in NAMES] == list(NAMES)
    assert parse("adam") == Optimiser("adam", 0.9, 0.999, 1e-8)
    assert parse("adamw:0.9,0.98,1e-9") == Optimiser("adamw", 0.9, 0.98, 1e-9)


@pytest.mark.parametrize(("text", "words"), [
    ("lion", "there is: sgd, nesterov"), ("sgd:0.9", "there is"), ("adam:0.9,x", "cannot be read"),
    ("adam:0.9,0.9,1,1", "cannot be read"), ("adam:1,0.9", "below 1"), ("adam:0.9,0.9,0", "epsilon above 0"),
    ("adam:nan", "below 1"), ("adam:", "cannot be read"),
])
def test_what_cannot_be_meant_is_refused_when_the_job_is_made(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Job("pytorch-ddp", "resnet18", optimiser=text)


@pytest.mark.parametrize("taken", [1, 2, 1000])
def test_folded_numbers_make_the_same_step(taken: int) -> None:
    adam, first, second, lr = parse("adam"), 3e-9, 4e-17, 0.1
    c1, c2 = adam.correction(taken)
    folded, eps = adam.folded(lr, taken)
    assert folded * first / (math.sqrt(second) + eps) == pytest.approx(
        lr * (first / c1) / (math.sqrt(second / c2) + adam.eps), rel=1e-12)


def test_betas_of_a_float32_kernel_are_near_and_stay_below_one() -> None:
    near = parse("adam").in_float32
    assert near.beta2 != 0.999 and near.beta2 == pytest.approx(0.999, rel=1e-7) and near.eps == 1e-8
