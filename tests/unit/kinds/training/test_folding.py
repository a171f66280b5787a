"""Ranks fold into a record whose numbers are the slowest rank's; those that do not belong together are told apart."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from fabricated import CERTIFICATE, STARTED, SYSTEM, finished, job, ranks, sha

from dlcompare.core.kinds.training import folding
from dlcompare.core.kinds.training.result import LossPoint, RankResult, beyond_physics
from dlcompare.core.meters.meter import Metered, Quantity
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.reports.words import sentences
from dlcompare.core.typed_json import from_plain, to_plain


def replace(result: RankResult, **changes: Any) -> RankResult:
    return dataclasses.replace(result, **changes)


def window(result: RankResult, number: int, **changes: Any) -> RankResult:
    windows = tuple(dataclasses.replace(w, **changes) if i == number else w for i, w in enumerate(result.windows))
    return replace(result, windows=windows)


def test_throughput_is_all_samples_over_the_slowest_ranks_time() -> None:
    seconds = [2.0, 2.5, 2.2, 2.1, 2.4]
    made = finished(job(), ranks(job(), seconds, steps=3, slower=0.5))
    rates = [2 * 8 * 3 / (own + 0.5) for own in seconds]
    assert [one.rate for one in made.windows] == pytest.approx(rates)
    assert made.throughput is not None and made.step_time is not None
    assert made.throughput.value == pytest.approx(statistics.median(rates))
    assert min(rates) <= made.throughput.low <= made.throughput.value <= made.throughput.high <= max(rates)
    assert made.step_time.median == pytest.approx(2.7 / 3)
    assert made.step_time.n == 5
    assert made.flops_per_second == pytest.approx(made.throughput.value * 341e6 * 6)


def test_step_time_weighs_each_window_by_its_steps() -> None:
    results = [window(r, 0, steps=30) for r in ranks(job(), [3.0, 0.9, 0.8], steps=1, slower=0.0)]
    made = finished(job(), results)
    assert made.step_time is not None
    assert made.step_time.median == made.step_time.p90 == pytest.approx(3.0 / 30)
    assert made.step_time.p99 == pytest.approx(0.8 + 0.69 * 0.1)  # 99 % of the way through 32 steps


def test_ranks_of_unequal_share_are_summed_and_weighted() -> None:
    first, second = ranks(job())
    made = finished(job(), [first, replace(second, samples_per_step=24)])
    assert made.windows[0].samples == 3 * (8 + 24)
    assert made.loss[0].loss == pytest.approx((8 * 6.9 + 24 * 6.902) / 32)
    assert finished(job()).loss[0].loss == pytest.approx(6.901)


def test_a_window_begins_with_the_first_rank_and_waits_with_the_one_that_waited_longest() -> None:
    first, second = ranks(job())
    made = finished(job(), [window(first, 1, feed_seconds=0.03), window(second, 1, started=STARTED)])
    assert (made.windows[1].started, made.windows[1].feed_seconds) == (STARTED, 0.03)


def test_what_is_folded_from_all_ranks() -> None:
    made = finished(job(), ranks(job())[::-1], verified=CERTIFICATE)
    assert made.rss_bytes == 1_503_238_554 and made.peak_bytes is None
    assert made.startup == {"parameters": 0.41, "import_and_build": 3.9, "first_step": 4.1}
    assert made.first_batch_sha256 == sha(sha("batch 0") + sha("batch 1"))
    assert sentences(made.discarded) == ["3 warm-up steps, 5.50 s"]
    assert made.warmup is not None and made.warmup.settled and len(made.warmup.series) == 3
    assert [item.step for item in made.loss] == [0, 1, 2, 5, 8, 11, 14, 17]
    assert (made.started, made.global_batch, made.status) == ("2025-11-21T08:00:00+00:00", 16, "ok")
    assert made.warnings == ()


def test_one_window_has_no_interval_and_a_warning() -> None:
    made = finished(job(), ranks(job(), [2.0]))
    assert made.throughput is not None and made.throughput.low is None and made.throughput.high is None
    assert any("short measurement: 1 window" in sentence for sentence in sentences(made.warnings))


@pytest.mark.parametrize("given, words", [
    ({"seconds": [2, 3, 2, 3, 2.0]}, "varies between windows"),
    ({"seconds": [2, 2.1, 2.2, 2.3, 2.4]}, "one way"),
    ({"feed": 0.5}, "input was too slow"),
    ({"warmup_settled": False}, "had not settled after 3 warm-up steps"),
    ({"first_batch_sha256": sha("one")}, "the same first batch"),
    ({"weights_drawn": ("fc.weight", "fc.bias")}, "not in the weights file, so drawn from the seed: fc.weight, fc"),
    ({"weights_unread": tuple("abcdefgh")}, "in the weights file and left unread: a, b, c, d, e, f and 2 more"),
])
def test_doubts_are_written_into_the_record(given: dict[str, Any], words: str) -> None:
    made = finished(job(), ranks(job(), **given))
    assert made.status == "ok"
    assert any(words in sentence for sentence in sentences(made.warnings)), made.warnings


@pytest.mark.parametrize("change, words", [
    (lambda r: replace(r, world=1), "rank 1 trained in a group of 1, not of 2"),
    (lambda r: replace(r, params_sha256=sha("other")), "disagree on params_sha256"),
    (lambda r: replace(r, sample_order_sha256=sha("other")), "disagree on sample_order_sha256"),
    (lambda r: replace(r, settings=Choices.of(r.settings.flat() | {"tf32": True})),
     "settings 'tf32': False on rank 0, True on rank 1"),
    (lambda r: replace(r, settings=Choices.of(r.settings.flat() | {"new": 1})),
     "settings 'new': None on rank 0, 1 on rank 1"),
    (lambda r: replace(r, versions=r.versions | {"torch": "2.0"}), "versions 'torch': '2.13.0' on rank 0, '2.0'"),
    (lambda r: replace(r, windows=r.windows[:-1]), "disagree on windows"),
    (lambda r: replace(r, losses=r.losses[1:]), "disagree on losses"),
    (lambda r: window(r, 2, seconds=0.0), "window 2 took [2.02, 0.0] s"),
    (lambda r: window(r, 2, seconds=None), "the clock is broken"),
    (lambda r: window(r, 3, seconds=9.0), "window 3: rank 0 heard that the ranks took [2.0, 2.01] s, but they wrote"),
    (lambda r: window(r, 1, peers=(2.03,)), "window 1: rank 1 heard"),
])
def test_ranks_that_do_not_belong_together_make_a_failed_record(
        change: Callable[[RankResult], RankResult], words: str) -> None:
    first, second = ranks(job())
    made = finished(job(), [first, change(second)])
    assert made.status == "failed" and made.reason is not None
    assert words in made.reason
    assert made.throughput is None and made.windows == ()


def test_no_window_is_a_failure() -> None:
    assert finished(job(), ranks(job(), [])).reason == "no window was measured"


def test_times_that_an_all_reduce_rounded_to_float32_agree() -> None:
    first, second = ranks(job())
    assert finished(job(), [window(first, 0, peers=(2.0100002, 2.0199997)), second]).status == "ok"


@pytest.mark.parametrize("chosen", [[0], [1], [0, 0], [0, 1, 1], []])
def test_a_missing_rank_is_an_error_that_counts(chosen: list[int]) -> None:
    both = ranks(job())
    with pytest.raises(ValueError, match=r"2 processes write \[0, 1\]"):
        finished(job(), [both[rank] for rank in chosen])


def test_a_loss_that_is_not_finite_fails_the_job_but_keeps_what_was_seen() -> None:
    written = [json.dumps(to_plain(replace(r, losses=(*r.losses[:-1], LossPoint(17, math.inf))))) for r in ranks(job())]
    made = finished(job(), [from_plain(RankResult, json.loads(one), what="rank result") for one in written])
    assert made.status == "failed" and made.reason is not None and "not finite at step 17" in made.reason
    assert made.loss[-1] == LossPoint(17, None) and len(made.windows) == 5 and made.throughput is None


def test_nothing_is_faster_than_physics() -> None:
    flops = finished(job()).flops_per_second
    assert flops is not None
    assert finished(job(), peak=flops * 1.01).status == "ok"
    made = finished(job(), peak=flops * 0.99)
    assert made.status == "failed" and made.reason is not None and "above the device's peak" in made.reason
    assert beyond_physics(2e12, None) is None


@pytest.mark.parametrize(("cards", "workers", "rate", "status"), [
    (["Tesla V100-SXM2-16GB"], 1, 9e3, "failed"), (["Tesla V100-SXM2-16GB"], 1, 100.0, "ok"),
    (["Tesla V100-SXM2-16GB"] * 2, 2, 9e3, "ok"), (["a card of which nobody published a peak"], 1, 1e9, "ok"),
])
def test_the_published_peak_of_a_card_bounds_what_is_believed(cards: list[str], workers: int, rate: float,
                                                              status: str) -> None:
    """4.1 G multiply-adds at 224 pixels: 9e3 samples/s are more than one V100 does, and less than two do."""
    one = job(device="cuda", workers=workers, image_size=224)
    results = ranks(one, [one.batch * workers * 3 / rate] * 5, slower=0.0)
    about = Circumstances(system=SYSTEM | {"accelerators": [{"name": name} for name in cards]}, launch=0.5)
    known = folding.look_up(one, results, about)
    made = finished(one, results, peak=known.peak, multiply_adds=known.multiply_adds)
    assert (known.parameters, known.image_size, known.launch) == (25_557_032, 224, 0.5)
    assert made.status == status
    assert status == "ok" or ("above the device's peak" in str(made.reason) and made.throughput is None)


@pytest.mark.parametrize(("network", "data", "told"), [
    (None, 10, ["the network tells 1000 classes apart, and the data have 10"]), (10, 10, []), (10, None, []),
    (12, 10, ["the network tells 12 classes apart, and the data have 10"]), (None, 1000, [])])
def test_another_number_of_classes_than_the_data_have_is_said(network: int | None, data: int | None,
                                                              told: list[str]) -> None:
    one = job(classes=network)
    made = finished(one, ranks(one, data_classes=data))
    assert [words for words in sentences(made.warnings) if "classes" in words] == told


def metered(results: list[RankResult], counted: list[dict[str, float]]) -> list[RankResult]:
    """Return results whose ranks have read a counter of the machine and one of their own in each window."""
    own = Quantity("workers", "read", "B", own=True)
    meter = Metered("any", "window", quantities=(Quantity("lo", "sent", "B"), own))
    return [dataclasses.replace(result, meters=(meter,), windows=tuple(
        dataclasses.replace(window, counted=one, joules={"cpu package-0": 90.0} if result.rank == 0 else {}, clock=7.0)
        for window in result.windows)) for result, one in zip(results, counted, strict=True)]


def test_what_processes_counted_of_themselves_is_summed_and_the_rest_is_rank_0_s() -> None:
    found = finished(job(), metered(ranks(job()), [{"lo sent": 5.0, "workers read": 1.0}, {"workers read": 2.0}]))
    assert {(one.counted["lo sent"], one.counted["workers read"]) for one in found.windows} == {(5.0, 3.0)}
    assert {one.joules["cpu package-0"] for one in found.windows} == {90.0} and found.windows[0].clock == 7.0
    assert [one.scope for one in found.energy] == ["cpu package-0"], "which the meters' shortest window allows"


def test_a_sum_that_lacks_a_rank_is_none() -> None:
    found = finished(job(), metered(ranks(job()), [{"lo sent": 5.0, "workers read": 1.0}, {}]))
    assert {tuple(one.counted) for one in found.windows} == {("lo sent",)}
