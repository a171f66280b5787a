"""How long a job may report nothing: by phase, by what was measured, and never less than a larger --timeout."""

from __future__ import annotations

from typing import Any

import pytest

from dlcompare.core.launch.silence import DONE, LONGEST, Silence


def told(phase: str, *, pid: int = 1, **details: Any) -> dict[str, Any]:
    return {"pid": pid, "phase": phase, **details}


def given_up(*events: dict[str, Any], longest: float = LONGEST) -> float:
    """Return after how many seconds without a word behind some events, all of the same moment, a job is given up."""
    silence = Silence(longest, 0.0)
    for event in events:
        silence.hear(event, 0.0)
    found = next(bound for now in range(5000) if (bound := silence.too_long(now)))
    assert silence.too_long(found) is None and silence.too_long(found + 1) == found
    return found


WINDOW = told("window", expected=2.0)


@pytest.mark.parametrize(("events", "seconds"), [
    ([], 120), ([told("start")], LONGEST), ([told("import")], 300), ([told("build")], LONGEST),
    ([told("verify")], LONGEST), ([WINDOW], 120), ([told("warm-up", expected=10.0)], 200),
    ([told("window", expected=100.0)], LONGEST), ([told("window", expected=400.0)], 1200),
    ([told("window", expected="soon")], LONGEST),
    ([told("done"), told("data", pid=2)], LONGEST), ([told("data", pid=2), told("done")], LONGEST),
    ([told("data", pid=2), told("done"), told("done", pid=2)], DONE),
])
def test_a_phase_has_its_bound(events: list[dict[str, Any]], seconds: float) -> None:
    assert given_up(*events) == seconds


def test_a_worker_that_still_imports_is_not_hidden_by_others() -> None:
    assert given_up(told("import"), told("build", pid=2)) == 300
    assert given_up(told("import"), told("build", pid=2), told("build")) == LONGEST


@pytest.mark.parametrize("events", [[], [told("import")], [WINDOW], [told("done")]])
def test_a_larger_timeout_holds_everywhere_and_a_smaller_one_too(events: list[dict[str, Any]]) -> None:
    assert given_up(*events, longest=2000.0) == 2000
    assert given_up(*events, longest=30.0) == 30


def test_a_window_that_is_known_to_be_long_is_waited_for() -> None:
    assert given_up(told("window", expected=20.0), longest=30.0) == 60
