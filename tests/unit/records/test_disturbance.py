"""Windows taken while the machine was busy with something else, or throttled, are kept and not counted."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from fabricated import SYSTEM, finished, job, ranks

from dlcompare.core.kinds.training.result import RankResult, TrainingRecord
from dlcompare.core.records.disturbance import disturbance, windows_that_count
from dlcompare.core.records.record import Window
from dlcompare.core.reports.words import sentence, sentences
from dlcompare.core.typed_json import json_schema


def looked(result: RankResult, foreign: Sequence[float | None], throttled: Sequence[int]) -> RankResult:
    """Return what a rank left that has looked what the machine did meanwhile, in its first windows."""
    seen = [dataclasses.replace(window, foreign_cores=cores, throttled=times)
            for window, cores, times in zip(result.windows, foreign, throttled, strict=False)]
    return dataclasses.replace(result, windows=(*seen, *result.windows[len(seen):]))


def watched(foreign: Sequence[float | None], throttled: Sequence[int] = (0,) * 9,
            seconds: Sequence[float] = (2.0, 2.1, 2.2, 2.3, 2.4)) -> TrainingRecord:
    """Return a record whose rank 1 has looked what the machine did meanwhile."""
    first, second = ranks(job(), seconds, slower=0.0)
    made = finished(job(), [first, looked(second, foreign, throttled)])
    jsonschema.validate(json.loads(made.to_json()), json_schema(TrainingRecord))
    return made


def test_a_disturbed_window_is_kept_but_in_no_statistic() -> None:
    made = watched([0.0, 0.05, 0.9, 0.0, 0.0], throttled=[3, 0, 0, 0, 0])
    assert [window.discarded and sentence(window.discarded) for window in made.windows] == [
        "the clock was throttled 3 times", None, "others used 0.90 cores", None, None]
    assert len(made.windows) == 5 and len(windows_that_count(made.windows)) == 3 and not made.disturbed
    kept = [2 * 8 * 3 / seconds for seconds in (2.1, 2.3, 2.4)]
    assert [window.rate for window in windows_that_count(made.windows)] == pytest.approx(kept)
    assert made.throughput is not None and made.throughput.value == pytest.approx(kept[1])
    assert made.step_time is not None and (made.step_time.n, made.step_time.median) == (3, pytest.approx(2.3 / 3))
    assert sentences(made.discarded) == [
        "3 warm-up steps, 5.50 s",
        "2 of 5 windows, 4.20 s: the machine was disturbed (others used up to 0.90 cores; the clock was throttled 3 "
        "times)"]
    assert any("3 windows of 6.80 s" in said for said in sentences(made.warnings)), "warnings are of what counts"


def test_with_too_few_quiet_windows_all_count_and_the_record_says_so() -> None:
    made = watched([0.9, 0.8, 0.7, 0.0, 0.0])
    assert made.disturbed and len(windows_that_count(made.windows)) == 5
    assert made.throughput is not None and made.throughput.value == pytest.approx(2 * 8 * 3 / 2.2)
    assert sentence(made.warnings[0]).startswith(
        "the machine was disturbed in 3 of 5 windows (others used up to 0.90 cores)")
    assert sentences(made.discarded) == ["3 warm-up steps, 5.50 s"]
    assert not watched([0.9, 0.8, 0.0, 0.0], seconds=[2.0] * 4).disturbed, "half is enough"
    assert watched([0.9]).disturbed is False and watched([0.9], seconds=[2.0]).disturbed


@pytest.mark.parametrize(("window", "cores", "counts"), [
    ({"seconds": (2.0,)}, 2, True),  # of a version that did not look
    ({"seconds": (2.0,), "foreign_cores": None, "throttled": None}, 2, True),
    ({"seconds": (2.0,), "foreign_cores": 0.10, "throttled": 0}, 2, True),
    ({"seconds": (2.0,), "foreign_cores": 0.11, "throttled": 0}, 2, False),
    ({"seconds": (2.0,), "foreign_cores": 0.11, "throttled": 0}, 16, True),
    ({"seconds": (2.0,), "foreign_cores": 0.11, "throttled": 0}, None, True),
    ({"seconds": (0.05,), "foreign_cores": 1.5, "throttled": 0}, 2, True),  # some ticks of the clock
    ({"seconds": (2.0,), "foreign_cores": 0.0, "throttled": 1}, 16, False),
])
def test_what_counts(window: dict[str, Any], cores: float | None, counts: bool) -> None:
    taken = Window(**{"steps": 1, "samples": 8, "started": 0.0, **window})
    assert (disturbance(taken, cores) is None) == counts


def test_a_container_may_use_less_than_it_sees() -> None:
    first, second = ranks(job())
    both = [looked(first, [0.5] * 5, [0] * 5), second]
    large = SYSTEM | {"cpu": SYSTEM["cpu"] | {"usable": 64}}  # type: ignore[operator]
    small = SYSTEM | {"cpu": large["cpu"] | {"quota": 2.0}}  # type: ignore[operator]
    assert [finished(job(), both, system=system).disturbed for system in (large, small)] == [False, True]


def test_a_paused_window_counts_only_where_there_is_no_other() -> None:
    first, second = ranks(job(), (2.0, 2.1, 9.0, 2.3, 2.4), slower=0.0)

    def paused(*seconds: float, foreign: float = 0.0) -> TrainingRecord:
        seen = tuple(dataclasses.replace(window, paused=still) for window, still in
                     zip(second.windows, seconds, strict=True))
        busy = looked(first, [foreign] * 5, [0] * 5)
        return finished(job(), [busy, dataclasses.replace(second, windows=seen)])

    one = paused(0.0, 0.0, 6.5, 0.0, 0.0)
    assert [window.paused for window in one.windows] == [0.0, 0.0, 6.5, 0.0, 0.0] and not one.disturbed
    assert len(windows_that_count(one.windows)) == 4
    assert sentences(one.discarded)[-1] == "1 of 5 windows, 9.00 s: the machine was disturbed (it was paused for 6.5 s)"
    busy = paused(0.0, 0.0, 6.5, 0.0, 0.0, foreign=0.9)
    assert busy.disturbed and len(windows_that_count(busy.windows)) == 4, "load slows all windows, a pause is no speed"
    assert len(windows_that_count(paused(3.0, 3.0, 3.0, 3.0, 3.0).windows)) == 5
