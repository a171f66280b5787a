"""Records of collectives shown: figures by nccl-tests' definitions, tables at any width, bad fits said, a plot."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from nccl_file import written
from two_ranks import SYSTEM, ranks, record

from dlcompare.core.judging.judging import Judging
from dlcompare.core.kinds.comm import figure, folding, report
from dlcompare.core.kinds.comm.nccl import read_all
from dlcompare.core.kinds.comm.result import CommRecord, bus_factor
from dlcompare.core.kinds.kind import Answer, Started, kind
from dlcompare.core.machine import collectives
from dlcompare.core.plugins.collectives import CollectiveJob


def shown(records: list[CommRecord], monkeypatch: pytest.MonkeyPatch, width: int = 120, others: Any = ()) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return report.render(Answer(records, others), "table", None)


@pytest.mark.parametrize(("collective", "two", "eight"), [
    ("all_reduce", 1.0, 1.75), ("broadcast", 1.0, 1.0), ("all_gather", 0.5, 0.875), ("reduce_scatter", 0.5, 0.875)])
def test_bus_bandwidth_is_by_nccl_tests_definitions(collective: str, two: float, eight: float) -> None:
    assert (bus_factor(collective, 2), bus_factor(collective, 8)) == (two, eight)


def test_the_slowest_rank_makes_a_call() -> None:
    one = record().sizes[0]
    fast = 1e6 * (1e-4 + 1024e-9)
    assert one.micros == pytest.approx([fast, 1.2 * fast] * 5, rel=1e-4)
    assert one.rank_micros == pytest.approx((fast, 1.1 * fast), rel=1e-4)
    assert one.figures and one.figures.median == pytest.approx(1.1e-6 * fast, rel=1e-4)
    assert record().startup == {"launch": 0.5, "import": 2.0}


def test_ranks_that_did_not_do_the_same_make_no_record() -> None:
    about = Started(run="r", started=0.0, duration=1.0, system=SYSTEM, launch=None, folder=Path(),
                    tell=lambda job, event: None)
    one, two = ranks()
    job = CollectiveJob("pytorch-ddp")
    other = dataclasses.replace(two, versions={"torch": "1"})
    fewer = dataclasses.replace(two, points=(dataclasses.replace(two.points[0], seconds=(1.0,)), *two.points[1:]))
    for pair, said in (([one], "results of ranks"), ([one, one], "results of ranks"), ([one, other], "versions"),
                       ([one, fewer], "rank 1 did otherwise")):
        with pytest.raises(ValueError, match=said):
            folding.fold(kind("comm"), job, pair, about)


def test_a_table_fits_its_width_and_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (80, 120):
        text = shown([record()], monkeypatch, width)
        assert max(map(len, text.splitlines())) <= width
        flowing = " ".join(text.split())
        assert "pytorch-ddp in place" in flowing and "at worst 0 % off" in flowing
        assert "a step of net sends 2 messages, 1.001M in all: 1M, 1K" in flowing
        assert "by dist.all_reduce, in place" in flowing and "BAD FIT" not in flowing


def test_a_bad_fit_and_a_busy_machine_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record(curve=0.05, foreign=1.5)
    assert [caveat.kind for caveat in one.warnings] == ["comm disturbed", "comm fit", "comm fit"]
    assert not record(foreign=1.5, watched=0.05).warnings  # too short for ticks of 10 ms to tell
    text = " ".join(shown([one], monkeypatch).split())
    assert "BAD FIT" in text and "10* 7 right" in text
    assert "(up to 1.50 cores) during 6 of 6 sizes" in text and "predict nothing by it" in text


def test_the_line_of_a_quiet_run_is_kept_for_the_bounds_of_trainings(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path))
    unused: Any = None

    def kept(*records: CommRecord) -> list[collectives.Line]:
        assert not list(kind("comm").conclude(unused, unused, records, unused))
        return collectives.known(SYSTEM)

    assert kept(record(foreign=1.5)) == []
    bent, = kept(record(curve=0.05))
    assert bent.met and not bent.holds(1 << 25), "sizes at which it misses are none that it speaks for"
    one, = kept(record())
    assert one.met == one.sizes == (1024, 1 << 20, 1 << 24) and one.holds(1 << 25)
    assert one.key == ("pytorch-ddp", "torch 2", "cpu", "all_reduce", 2, 1)
    assert one.seconds(1 << 20) == pytest.approx(1.1 * (1e-4 + (1 << 20) * 1e-9), rel=1e-3)
    eight = dataclasses.replace(record(), workers=8)
    assert [line.workers for line in kept(eight, record())] == [2, 8], "a newer one takes its place"
    assert collectives.line_of(SYSTEM, *one.key) and not collectives.line_of(SYSTEM, "jax", *one.key[1:])
    assert not collectives.known({"cpu": {"model": "another"}})
    collectives.keep(SYSTEM, [dataclasses.replace(one, measured="2020-01-01T00:00:00+00:00", alpha=9.0)])
    assert collectives.line_of(SYSTEM, *one.key).alpha < 1, "an older one does not"  # type: ignore[union-attr]


def test_the_line_that_counts_is_in_place_where_the_engine_is() -> None:
    both = record()
    apart = dataclasses.replace(both.fits[0], line=dataclasses.replace(both.fits[0].line, alpha=1.0))
    assert dataclasses.replace(both, fits=(apart, both.fits[1])).line == both.fits[1].line
    assert dataclasses.replace(both, fits=(apart,)).line == apart.line


def test_records_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record()
    again = CommRecord.from_json(one.to_json())
    assert again == one and again.to_dict() == one.to_dict()
    altered = json.loads(one.to_json())
    altered["sizes"][0]["figures"]["bus_bandwidth"] *= 2
    from dlcompare.core.records.recompute import recomputed

    found = recomputed(CommRecord.from_dict(altered))
    assert found.sizes == one.sizes and any(caveat.kind == "altered" for caveat in found.warnings)


def test_what_nccl_tests_measured_stands_beside_and_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "out.json"
    file.write_text(json.dumps(written()))
    others = read_all([str(file)])
    text = " ".join(shown([record()], monkeypatch, others=others).split())
    assert "nccl-tests, another program and maybe another machine: 2 ranks, NCCL 2.27.3, NVIDIA H200" in text
    assert "1M 0.02150 48,770 48,770 0" in text and "not looked" in text and "hush" not in text
    judged = report.render(Answer([record()], others), "table", Judging())
    assert "nccl-tests, another program" in judged and "1M" in judged, "rounds do not hide what was asked for"
    other = dataclasses.replace(others[0], collective="broadcast")
    assert "is of broadcast, which was not asked for here" in " ".join(shown([record()], monkeypatch,
                                                                            others=[other]).split())
    for name in ("plot.png", "plot.svg"):
        figure.draw([record()], tmp_path / name, others)
        assert (tmp_path / name).stat().st_size > 10_000
