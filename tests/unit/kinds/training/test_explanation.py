"""The explainer: what it moves, what it says of what cannot be moved, and a whole waterfall of real runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from fabricated import in_rounds, job
from running import Command

from dlcompare.core.judging.verdict import compare
from dlcompare.core.kinds.training import explanation
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Record

SMALL = {"model": "resnet18", "image_size": 32, "workers": 1}


def side(framework: str, factor: float, *, variant: str = "", settings: dict[str, Any] | None = None,
         **given: Any) -> list[Record]:
    one = job(framework, **{**SMALL, **given})
    made = in_rounds(one, [factor, 1.01 * factor, 0.99 * factor], variant=variant)
    return [dataclasses.replace(record, settings=Choices.of({**record.settings.flat(), **(settings or {})}))
            for record in made]


def studied(*records: Record) -> explanation.Study:
    found = explanation.gap(compare(records))
    assert not isinstance(found, str)
    return explanation.study(plugins(), Plan("training", ()), *found)


def test_each_setting_moves_alone() -> None:
    slow = side("pytorch-ddp", 2.0, settings={"layout": "NHWC"}, execution="eager", threads=1)
    fast = side("tf-horovod", 1.0, settings={"layout": "NCHW"}, execution="graph", threads=2, precision="bf16")
    found = studied(*slow, *fast)
    assert (found.slow, found.fast, found.plan.rounds) == ("pytorch-ddp", "tf-horovod", 3)
    assert {move.setting for move in found.moves} | {kept.setting for kept in found.kept} == {
        "threads", "execution", "layout", "precision", "input path"}
    base = explanation.job_of(slow[0])
    changes = {found.plan.name(one): {key: value for key, value in dataclasses.asdict(one).items()
                                      if value != getattr(base, key)}
               for one in found.plan.jobs if one.framework == "pytorch-ddp"}
    assert changes["pytorch-ddp"] == {}
    assert changes["pytorch-ddp:threads=2"] == {"threads": 2}
    assert changes["pytorch-ddp:precision=bf16"] == {"precision": "bf16"}
    assert changes["pytorch-ddp:data=synthetic"] == {"data": "synthetic"}
    assert "tf-horovod:data=synthetic" in {found.plan.name(one) for one in found.plan.jobs}
    kept = {item.setting: item.reason for item in found.kept}
    assert kept["execution"].startswith("eager cannot become graph: pytorch-ddp offers")


def test_what_is_alike_stays() -> None:
    kept = {item.setting: item.reason for item in studied(
        *side("pytorch-ddp", 2.0, data="synthetic"), *side("tf-horovod", 1.0, data="synthetic")).kept}
    assert kept == {"threads": "1 on both sides", "execution": "None on both sides", "layout": "NHWC on both sides",
                    "precision": "fp32 on both sides", "input path": "both feed one batch that is placed once"}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_move_that_makes_it_the_other_side_runs_no_third_job(factor: float) -> None:
    plain = side("pytorch-ddp", factor, precision="fp32")
    found = studied(*plain, *side("pytorch-ddp", 1.0, precision="bf16", variant="precision=bf16"))
    (move,) = [move for move in found.moves if move.setting == "precision"]
    assert move.moved == found.fast
    assert len({one.id for one in found.plan.jobs}) == len(found.plan.jobs) == 4


def test_settings_of_a_variant_stay_with_it() -> None:
    found = studied(*side("pytorch-ddp", 2.0, seed=1, threads=2, variant="seed=1"), *side("tf-horovod", 1.0))
    assert "pytorch-ddp:seed=1:threads=1" in {found.plan.name(one) for one in found.plan.jobs}
    assert {one.seed for one in found.plan.jobs if one.framework == "pytorch-ddp"} == {1}


@pytest.mark.parametrize(("factor", "words"), [(1.0, "as fast as one another"), (1.015, "not told apart")])
def test_no_gap_is_no_study(factor: float, words: str) -> None:
    noise = [1.0, 1.001, 0.999, 1.0] if factor == 1.0 else [1.0, 1.05, 0.95, 1.02]
    torch = in_rounds(job("pytorch-ddp"), [1.0] * 4)
    flow = in_rounds(job("tf-horovod"), [factor * n for n in noise])
    assert words in str(explanation.gap(compare([*torch, *flow])))
    assert "fewer than two" in str(explanation.gap(compare(torch)))


def test_sides_that_differ_around_their_layers_alone_time_none() -> None:
    slow = side("pytorch-ddp", 2.0, variant="loaders=1", loaders=1)
    fast = side("pytorch-ddp", 1.0, variant="pipeline=native", workers=2, pipeline="native")
    found = explanation.gap(compare([*slow, *fast]))
    assert not isinstance(found, str), found

    def never(plan: Plan) -> list[Any]:
        raise AssertionError("layers were timed")

    assert "are the same work" in str(explanation.by_layers(Plan("training", ()), *found, never))


@pytest.mark.slow
def test_a_real_gap_falls_apart_into_what_makes_it(start_slow: Callable[..., Command]) -> None:
    """``tuned`` is 1.5 times slower for its execution and 1.25 times for its layout."""
    command = start_slow("--framework", "rival,tuned", "--explain", "--windows", "3", SLOW_STEP="0.02")
    assert command.wait(300) == 0, command.told
    found = json.loads(command._printed.read_text())
    told = found["explanation"]
    assert (told["slow"], told["fast"], told["rounds"]) == ("tuned", "rival", 3), told
    factors = {move["setting"]: (move, factor["ratio"]) for move, factor in told["factors"]}
    assert set(factors) == {"execution", "layout", "input path"}
    assert factors["execution"][0]["after"] == "compiled" and 1.3 < factors["execution"][1] < 1.7
    assert factors["layout"][0]["after"] == "NHWC" and 1.1 < factors["layout"][1] < 1.45
    assert 0.8 < factors["input path"][1] < 1.25 and 0.75 < told["unexplained"]["ratio"] < 1.35
    assert {kept["setting"] for kept in told["kept"]} == {"threads", "precision"}
    assert told["kernels"]  # a real backend's layers, timed alone, or why they say nothing
    assert len(command.runs) == 3 and len(found["comparisons"]) == 2
    assert len(json.loads((command.runs[1] / "records.json").read_text())) == 3 * 6
