"""The rule that serves a network best is found by trying all of them on samples that none of them saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import int8
import numpy as np
import pytest
from in_process import Bench

from dlcompare.inference.precision.quantise import quantise
from dlcompare.inference.precision.ranges import RULES, ranges
from dlcompare.inference.preparation.calibrators import cost
from dlcompare.inference.preparation.exact import Exact
from dlcompare.inference.preparation.model_files import UNJUDGED, Files

HELD = int8.images(int8.residual(), 16, seed=9)


def bright_one(images: np.ndarray) -> np.ndarray:
    """Return images of which one is forty times too bright: its range is nobody else's."""
    return np.concatenate([images, 40 * images[:1]])


GOOD = int8.images(int8.residual(), 30)


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Files]:
    def made(calibrating: np.ndarray, held: np.ndarray = HELD, rule: str = "auto") -> Files:
        model = int8.residual()
        plan: Any = SimpleNamespace(equalise=False, calibrator=rule, engine_calibrates=lambda _: False,
                                    protocol="split")
        network: Any = SimpleNamespace(model=model, inputs=("image",))
        found = Files(tmp_path, network, plan, None, lambda _: 8, Exact(Bench(tmp_path, held)))  # type: ignore[arg-type]
        found._artifact = int8.calibrated(model, calibrating)
        return found

    return made


@pytest.mark.parametrize("calibrating", [GOOD, bright_one(GOOD)])
def test_the_best_rule_is_the_one_with_the_least_noise_on_samples_held_back(files: Callable[..., Files],
                                                                            calibrating: np.ndarray) -> None:
    made = files(calibrating)
    wanted, noise = int8.run(made.network.model, HELD), {}
    for rule in RULES:
        found = ranges(made.artifact, rule, scheme="s8s8", whole=("image",))
        (answer,) = int8.exact(quantise(made.network.model, found, scheme="s8s8"), {"image": HELD})
        noise[rule] = int8.sqnr(wanted, answer)
    assert made.rule("s8s8", 8) == max(noise, key=lambda rule: noise[rule])
    assert [one["sqnr_db"] for one in made.judged["ranking"]] == pytest.approx(sorted(noise.values(), reverse=True),
                                                                              abs=0.1)
    assert not list(made.folder.glob("judged")), "candidates are not kept"


def test_no_rule_is_best_everywhere(files: Callable[..., Files]) -> None:
    assert files(GOOD).rule() == "mse" and files(bright_one(GOOD)).rule() == "entropy"


def test_a_rule_that_a_user_names_is_not_judged(files: Callable[..., Files]) -> None:
    made = files(GOOD, rule="entropy")
    assert made.rule() == "entropy" and not made.judged and not made.exact.preparation.labels  # type: ignore[attr-defined]


def test_without_samples_to_judge_by_a_rule_is_taken_and_why_is_known(files: Callable[..., Files]) -> None:
    made = files(GOOD, HELD[:0])
    assert made.rule() == UNJUDGED and made.judged["reason"] == "there are no real samples to judge INT8 by"


def test_what_fewer_bits_cost_is_measured(files: Callable[..., Files]) -> None:
    made = files(GOOD)
    found = cost(made, made.exact, "u8s8", 7)
    assert list(found) == ["8", "7"] and found["8"] > found["7"] + 1 > 20
