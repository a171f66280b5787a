"""Each rule against the plainest program that does the same, on histograms of tensors like those of real networks."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from dlcompare.core.errors import UsageError
from dlcompare.inference.precision.histograms import Artifact, Collector, Observed
from dlcompare.inference.precision.ranges import RULES, divergences, magnitudes, ranges, without_zeros

RANDOM = np.random.default_rng(4)
NORMAL = RANDOM.standard_normal(200_000).astype(np.float32)
TENSORS = {
    "relu": np.maximum(NORMAL, 0), "normal": NORMAL, "shifted": NORMAL * 0.3 + 1,
    "heavy": RANDOM.standard_t(3, 200_000).astype(np.float32),
    "sparse": RANDOM.uniform(-1, 1, 400).astype(np.float32),  # many bins are empty, the last that is kept may be too
    "bright": np.concatenate([np.maximum(NORMAL, 0), 12 * np.maximum(NORMAL[:1600], 0)]),  # 10 of 1250 images
}


def artifact(**tensors: np.ndarray) -> Artifact:
    collector = Collector(tensors)
    collector.add({name: values[:, None] for name, values in tensors.items()}, samples=[0])
    return collector.artifact({})


SEEN = artifact(**TENSORS)


@pytest.mark.parametrize("name", TENSORS)
def test_minmax_is_all_of_it_and_zero(name: str) -> None:
    values = TENSORS[name]
    assert ranges(SEEN, "minmax")[name] == (min(0, values.min()), max(0, values.max()))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("percentile", [99.0, 99.99, 100.0])
def test_percentile_is_that_of_magnitudes(name: str, percentile: float) -> None:
    clip = max(np.abs(ranges(SEEN, "percentile", percentile=percentile)[name]))
    exact = np.percentile(np.abs(TENSORS[name]), percentile, method="inverted_cdf")
    assert exact <= clip <= exact + 2 * SEEN.tensors[name].limit / 4096


def plain_divergences(counts: np.ndarray) -> dict[int, float]:
    """Return the Kullback-Leibler divergence by bins kept, one after the other, as the slides of GTC 2017 tell it."""
    found = {}
    for kept in range(128, len(counts) + 1):
        p = counts[:kept].copy()
        p[-1] += counts[kept:].sum()
        q = np.zeros(kept)
        level = np.arange(kept) * 128 // kept
        for number in range(128):
            mine = level == number
            filled = mine & (p > 0)
            q[filled] = counts[:kept][mine].sum() / max(1, filled.sum())
        p, q = p / p.sum(), q / q.sum()
        there = p > 0
        with np.errstate(divide="ignore"):
            found[kept] = float(np.sum(p[there] * np.log(p[there] / q[there])))
    return found


@pytest.mark.parametrize("name", ["relu", "heavy", "bright", "sparse"])
def test_entropy_is_the_least_divergence_of_all(name: str) -> None:
    """Of every fourth bin, for the plain program takes its time."""
    seen = SEEN.tensors[name]
    few = np.zeros(2048, np.int64)
    few[512:1536] = seen.counts.reshape(-1, 4).sum(axis=1)
    small = replace(seen, counts=few, limit=seen.limit * 2)
    counts = without_zeros(magnitudes(small))
    found = plain_divergences(counts)
    np.testing.assert_allclose(divergences(counts), list(found.values()), rtol=1e-6, atol=1e-9)
    best = min(found, key=lambda one: found[one])
    assert RULES["entropy"](small) == min(max(seen.high, -seen.low), best * 2 * small.limit / 2048)


@pytest.mark.parametrize("rule", ["entropy", "mse"])
def test_what_a_relu_cuts_off_has_no_say(rule: str) -> None:
    relu = TENSORS["relu"]
    more = artifact(relu=np.concatenate([relu, np.zeros(9 * len(relu), np.float32)]))
    assert ranges(more, rule)["relu"] == ranges(SEEN, rule)["relu"]
    assert ranges(SEEN, rule)["relu"][1] > 0.5 * relu.max()


def test_entropy_clips_what_is_rare() -> None:
    found = ranges(SEEN, "entropy")
    assert found["bright"][1] < 0.8 * TENSORS["bright"].max()
    assert found["heavy"][1] < 0.5 * np.abs(TENSORS["heavy"]).max()
    assert found["relu"][1] > 0.4 * TENSORS["relu"].max()


def rounded(values: np.ndarray, low: float, high: float, scheme: str) -> np.ndarray:
    step = max(high, -low) / 127 if scheme == "s8s8" else (high - low) / 255
    return np.rint(np.clip(values, low, high) / step) * step


@pytest.mark.parametrize("scheme", ["u8s8", "s8s8"])
@pytest.mark.parametrize("name", [name for name in TENSORS if name != "sparse"])  # few values are not even in a bin
def test_mse_has_the_least_error_on_the_values_themselves(name: str, scheme: str) -> None:
    values = TENSORS[name].astype(np.float64)
    values = values[values != 0]
    top = float(np.abs(values).max())

    def error(low: float, high: float) -> float:
        return float(np.mean((rounded(values, low, high, scheme) - values) ** 2))

    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    best = min(error(max(low, -clip), min(high, clip)) for clip in top * np.arange(1, 129) / 128)
    assert error(*ranges(SEEN, "mse", scheme=scheme)[name]) <= 1.02 * best


@pytest.mark.parametrize("rule", RULES)
def test_a_tensor_that_is_never_anything_has_an_empty_range(rule: str) -> None:
    empty = artifact(zero=np.zeros(100, np.float32), nothing=np.zeros(0, np.float32), one=np.full(5, 3, np.float32))
    found = ranges(empty, rule)
    assert found["zero"] == found["nothing"] == (0, 0)
    assert found["one"] == pytest.approx((0, 3), rel=0.03)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TENSORS)
def test_ranges_hold_zero_and_lie_in_what_was_seen(rule: str, name: str) -> None:
    low, high = ranges(SEEN, rule)[name]
    assert min(0, TENSORS[name].min()) <= low <= 0 <= high <= TENSORS[name].max()


@pytest.mark.parametrize("rule", RULES)
def test_all_tensors_of_resnet50_take_at_most_three_seconds(rule: str) -> None:
    """They are 71. Processor time, for other tests may run beside this one."""
    seen: dict[str, Observed] = {str(n): SEEN.tensors[name] for n, name in enumerate(list(TENSORS) * 15)}
    begin = time.process_time()
    ranges(Artifact(dict(list(seen.items())[:71]), {}), rule)
    assert time.process_time() - begin < 3


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown calibration rule 'entropie'.*Did you mean 'entropy'"):
        ranges(SEEN, "entropie")
    with pytest.raises(UsageError, match="unknown scheme 'u8'"):
        ranges(SEEN, "mse", scheme="u8")
    with pytest.raises(UsageError, match="above 0 and at most 100, not 0"):
        ranges(SEEN, "percentile", percentile=0)
