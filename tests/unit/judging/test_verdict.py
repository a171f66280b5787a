"""Verdicts: how often they are wrong, what they find, and what they refuse to say."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from fabricated import SYSTEM, finished, in_rounds, job, ranks, refused

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.judging import AS_USUAL, Judging
from dlcompare.core.judging.verdict import Comparison, Side, Verdict, compare, verdict, word
from dlcompare.core.kinds.kind import kind
from dlcompare.core.records import stats
from dlcompare.core.records.record import Record, Throughput

TORCH, FLOW = job("pytorch-ddp"), job("tf-horovod")
ROUND = in_rounds(TORCH, [1.0])[0]
STEADY = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0, 1.01, 0.99]


def side(name: str, rates: Sequence[float], *, rounds: int | None = 8) -> Side:
    """Return a side that is nothing but a throughput for each round."""
    return Side("run", name, tuple(dataclasses.replace(ROUND, round=n, rounds=rounds, throughput=Throughput(
        rate, None, None)) for n, rate in enumerate(rates)))


def noisy(draw: np.random.Generator, rounds: int, *, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two sides' throughputs by round: the machine's mood, which they share, their own noise, now and then a
    run that is 5 % slow for no reason."""
    mood = draw.normal(0, 0.03, rounds)
    one, two = (100 * np.exp(mood + draw.normal(0, noise, rounds) - 0.05 * (draw.random(rounds) < 0.05))
                for _ in range(2))
    return one, two


@pytest.mark.parametrize("rounds", [3, 5, 8])
def test_two_that_are_alike_are_seldom_told_apart(rounds: int) -> None:
    draw = np.random.default_rng(rounds)
    words = []
    for _ in range(300):
        one, two = noisy(draw, rounds, noise=0.01)
        words.append(verdict(side("a", one.tolist()), side("b", two.tolist()), 0.02).word)
    wrong = sum(said in ("faster", "slower") for said in words) / len(words)
    assert wrong <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / len(words))


def test_ten_percent_are_found_in_eight_rounds_of_one_percent_noise() -> None:
    draw = np.random.default_rng(1)
    found = []
    for _ in range(100):
        one, two = (100 * np.exp(draw.normal(0, 0.01, 8)) for _ in range(2))
        found.append(verdict(side("a", (one / 1.1).tolist()), side("b", two.tolist()), 0.02))
    assert {one.word for one in found} == {"slower"}
    covered = [one.low <= 1 / 1.1 <= one.high for one in found if one.low and one.high]
    assert np.mean(covered) >= 0.9


def test_alike_and_quiet_is_the_same() -> None:
    draw = np.random.default_rng(2)
    words = [verdict(side("a", (100 * np.exp(draw.normal(0, 0.004, 8))).tolist()),
                     side("b", (100 * np.exp(draw.normal(0, 0.004, 8))).tolist()), 0.02).word for _ in range(50)]
    assert words.count("same") >= 45


def test_few_rounds_do_not_make_the_interval_too_narrow() -> None:
    """The plain bootstrap alone would: that is why Student's interval is put around it."""
    draw = np.random.default_rng(3).normal(size=(600, 5)).tolist()
    whole, plain = ([low <= 0 <= high for low, high in (interval(values, resamples=300) for values in draw)]
                    for interval in (stats.mean_interval, stats.bootstrap_mean))
    assert np.mean(plain) < 0.9
    assert 0.93 <= np.mean(whole) <= 0.98


def test_students_interval_is_scipys() -> None:
    for count in (2, 3, 4, 5, 8, 30, 101):
        assert stats.student_half_width(count) == pytest.approx(
            scipy.stats.t.ppf(0.975, count - 1) / math.sqrt(count), rel=1e-6)
        assert stats.student_within(1.3, count) == pytest.approx(2 * scipy.stats.t.cdf(1.3, count) - 1)
    assert stats.student_half_width(6, 0.99) == pytest.approx(scipy.stats.t.ppf(0.995, 5) / math.sqrt(6), rel=1e-6)


@pytest.mark.parametrize("draw", ["normal", "heavy"])
def test_looking_after_every_round_is_no_cheating(draw: str) -> None:
    """Whoever stops at the first interval that leaves 0 out errs in 5 % of cases, not in a third of them."""
    make = np.random.default_rng(4)
    values = make.normal(size=(2000, 100)) if draw == "normal" else make.standard_t(3, size=(2000, 100))
    counts = np.arange(1, 101)
    means = values.cumsum(1) / counts
    spread = np.sqrt(np.maximum(0, (values**2).cumsum(1) - counts * means**2) / np.maximum(1, counts - 1))

    def ever(half: Sequence[float]) -> float:
        return float(np.mean((np.abs(means[:, 2:]) > np.array(half) * spread[:, 2:]).any(axis=1)))

    assert ever([stats.anytime_half_width(n) for n in range(3, 101)]) <= 0.05
    assert ever([stats.student_half_width(n) for n in range(3, 101)]) > 0.2
    assert stats.anytime_half_width(2) == math.inf


def test_rounds_without_a_planned_number_get_the_wider_interval() -> None:
    one, two = [100.0, 101, 99, 100.5, 99.5], [104.0, 105, 105, 103, 104]
    planned, free = (verdict(side("a", two, rounds=n), side("b", one, rounds=n), 0.02) for n in (5, None))
    assert (planned.word, planned.ratio) == ("faster", free.ratio)
    assert planned.resolution and free.resolution and free.resolution > 1.5 * planned.resolution


@pytest.mark.parametrize(("low", "high", "said"), [
    (-0.01, 0.01, "same"), (0.001, 0.015, "same"), (0.001, 0.03, "faster"), (-0.5, -0.1, "slower"),
    (-0.01, 0.03, "undecided"), (-0.03, 0.0, "undecided"), (-0.0201, 0.0, "undecided"),
    (-math.inf, math.inf, "undecided"),
])
def test_the_word_follows_from_the_interval(low: float, high: float, said: str) -> None:
    assert word(low, high, 0.02) == said


def decided(records: Sequence[Record]) -> bool:
    return kind("training").decided(records, AS_USUAL)


def judged(records: Sequence[Record], name: str = "tf-horovod", **how: object) -> tuple[Comparison, Verdict]:
    (one,) = compare(records, Judging(**how))  # type: ignore[arg-type]
    (found,) = [v for v in one.verdicts if v.name == name]
    return one, found


def test_a_ratio_is_paired_within_rounds() -> None:
    """The machine halves its speed in the middle; the ratio does not care."""
    mood = [1, 1, 1, 1, 2, 2, 2, 2]
    torch = in_rounds(TORCH, [m * f for m, f in zip(mood, STEADY, strict=True)])
    flow = in_rounds(FLOW, [1.1 * m * f for m, f in zip(mood, STEADY[::-1], strict=True)])
    one, found = judged([*torch, *flow])
    assert found.word == "slower" and found.ratio == pytest.approx(1 / 1.1, rel=1e-3)
    assert found.resolution is not None and found.resolution < 0.02 and found.rounds == 8
    low, high = one.side(found.run, "pytorch-ddp").interval
    assert low is not None and high is not None and high / low > 1.5, "the throughput's own interval is wide"
    assert found.bootstrap[0] is not None and found.low is not None and found.low <= found.bootstrap[0] < found.ratio


def test_disturbed_and_failed_rounds_are_left_out_and_counted() -> None:
    torch, flow = in_rounds(TORCH, STEADY), in_rounds(FLOW, STEADY)
    flow[2] = dataclasses.replace(flow[2], disturbed=True, throughput=Throughput(1.0, None, None))
    torch[5] = dataclasses.replace(torch[5], status="failed", reason="killed", throughput=None)
    _, found = judged([*torch, *flow])
    assert (found.word, found.rounds, found.discarded) == ("same", 6, 1)
    ruined = [dataclasses.replace(one, disturbed=True) for one in flow[:7]] + flow[7:]
    _, found = judged([*torch, *ruined])
    assert found.word is None and found.reason == "1 round in which both ran undisturbed" and found.ratio


def test_the_baseline_is_the_first_that_ran_or_the_one_named() -> None:
    none = dataclasses.replace(refused(job("mxnet"), "no", run="20251121-080000-1a2b"), round=0, rounds=3)
    quick = in_rounds(job("pytorch-ddp", execution="compiled"), [0.5, 0.51, 0.49], variant="execution=compiled")
    records = [none, *in_rounds(TORCH, [1, 1, 1.01]), *quick]
    (one,) = compare(records)
    assert one.baseline.name == "pytorch-ddp"
    assert [(v.name, v.word) for v in one.verdicts] == [("mxnet", None), ("pytorch-ddp:execution=compiled", "faster")]
    assert decided(records), "what has no number is no reason to go on"
    (one,) = compare(records, Judging("pytorch-ddp:execution=compiled"))
    assert [(v.name, v.word) for v in one.verdicts] == [("mxnet", None), ("pytorch-ddp", "slower")]
    with pytest.raises(UsageError, match=r"unknown baseline 'torch'; there is: mxnet, pytorch-ddp"):
        compare(records, Judging("torch"))


def test_the_margin_decides_what_is_the_same() -> None:
    records = [*in_rounds(TORCH, STEADY), *in_rounds(FLOW, [1.03 * f for f in STEADY])]
    assert judged(records)[1].word == "slower"
    assert judged(records, margin=0.05)[1].word == "same"
    assert decided(records)
    assert not decided([*in_rounds(TORCH, [1, 1.2, 1]), *in_rounds(FLOW, [1, 1, 1.2])])


def test_one_round_is_no_verdict() -> None:
    _, found = judged([finished(TORCH), finished(FLOW)])
    assert found.word is None and found.low is None and found.ratio == pytest.approx(1.0)
    assert found.reason == "each ran once, one after the other, not interleaved in rounds"


def test_runs_are_judged_within_and_never_across() -> None:
    other = SYSTEM | {"cpu": SYSTEM["cpu"] | {"model": "AMD EPYC", "usable": 16}}  # type: ignore[operator]
    here = [*in_rounds(TORCH, STEADY), *in_rounds(FLOW, [1.1 * f for f in STEADY])]
    there = [*in_rounds(TORCH, [0.5 * f for f in STEADY], run="later", system=other),
             *in_rounds(FLOW, [0.6 * f for f in STEADY], run="later", system=other)]
    once = [finished(FLOW, ranks(FLOW), run="once")]
    (one,) = compare([*here, *there, *once])
    told = {(v.run, v.name, v.baseline_run): v for v in one.verdicts}
    first = "20251121-080000-1a2b"
    assert {key: found.word for key, found in told.items()} == {
        (first, "tf-horovod", first): "slower", ("later", "tf-horovod", "later"): "slower",
        ("later", "pytorch-ddp", first): None, ("later", "tf-horovod", first): None,
        ("once", "tf-horovod", first): None}
    across = told["later", "pytorch-ddp", first]
    assert across.ratio == pytest.approx(2.0) and across.low is None
    assert across.reason == ("measured at another time, on another machine (AMD EPYC, 16 cores; Intel(R) Xeon(R) "
                             "Processor, 2 cores)")
    assert told["once", "tf-horovod", first].reason == "measured at another time, on the same kind of machine"


def test_models_are_judged_apart() -> None:
    records = [r for model in ("resnet50", "alexnet") for name in ("pytorch-ddp", "tf-horovod")
               for r in in_rounds(job(name, model=model), [1, 1.01, 1])]
    assert [(one.model, len(one.sides), len(one.verdicts)) for one in compare(records)] == [
        ("resnet50", 2, 1), ("alexnet", 2, 1)]
