"""What layers make of a gap, as people get it."""

from __future__ import annotations

import dataclasses

import pytest
from golden import flowing

from dlcompare.core.judging.attribution import Explanation
from dlcompare.core.judging.factor import Factor
from dlcompare.core.judging.kernels import Breakdown, LayerTime, kernels
from dlcompare.core.reports.explanation import LAYERS, gap_parts
from dlcompare.core.reports.text import to_text


def made(whole: float, *seconds: float) -> Breakdown:
    return Breakdown(whole, tuple(LayerTime(f"layer{n}.0.conv2", "conv 3x3/1 256x2x2 -> 256x2x2", 3, s)
                                  for n, s in enumerate(seconds)))


def explanation(layers: int = 3) -> Explanation:
    slows = {n: made(0.6 * w, *[0.57 / layers * w] * layers) for n, w in enumerate((1.0, 1.02, 0.99))}
    fasts = {n: made(0.14 * w, *[0.12 / layers * w] * layers) for n, w in enumerate((1.0, 0.99, 1.01))}
    one = Factor(4.2, 4.1, 4.3, 1.0)
    return Explanation("jax", "pytorch-ddp", 3, one, (), one, (),
                       kernels("jax", "pytorch-ddp", slows, fasts, run="20261130-220000-1a2b"))


@pytest.mark.parametrize("width", [80, 120])
def test_the_factor_of_layers_and_those_that_differ_most(width: int) -> None:
    text = to_text(gap_parts(explanation(), width), width)
    assert max(map(len, text.splitlines())) <= width
    told = flowing(text)
    for words in ("Kernels: the same gap by where the time goes", "dlcompare report 20261130-220000-1a2b",
                  "layers as fast as pytorch-ddp's 4.0", "the rest of a step as pytorch-ddp's",
                  "3 190.0 40.00 33 %", "layer0.0.conv2 conv 3x3/1 256x2x2"):
        assert words in told, words


def test_few_layers_are_named_and_a_reason_is_told_where_there_are_none() -> None:
    text = to_text(gap_parts(explanation(LAYERS + 5), 120), 120)
    assert text.count("conv 3x3/1") == LAYERS
    said = dataclasses.replace(explanation(), kernels="layers could not be timed alone: jax failed: no")
    assert "kernels: layers could not be timed alone: jax failed: no" in flowing(to_text(gap_parts(said, 80), 80))
