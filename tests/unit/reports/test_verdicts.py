"""Comparisons as people and programs get them. Golden files: UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence

import pytest
from fabricated import CERTIFICATE, RUN, SYSTEM, failed, finished, in_rounds, job, ranks, refused
from golden import compare_golden, flowing

from dlcompare.core.judging.attribution import Explanation, Factor, Kept, Move, attribute
from dlcompare.core.judging.cold_start import ColdStart, cold_start, overtaking
from dlcompare.core.judging.judging import Judging
from dlcompare.core.judging.verdict import compare, sides
from dlcompare.core.kinds.training.result import LossPoint
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.record import Record
from dlcompare.core.reports.forms import comparisons_as
from dlcompare.core.reports.verdicts_data import COLUMNS
from dlcompare.core.run.stored import parse

NOISE = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
TORCH, FLOW = job("pytorch-ddp"), job("tf-horovod")
COMPILED = job("pytorch-ddp", execution="compiled")


def shaky(records: Sequence[Record], *rounds: int) -> list[Record]:
    """Return the records with some of their rounds disturbed."""
    caveat = Caveat.of("disturbed", count=4, windows=5, foreign=1.2, throttled=0)
    return [dataclasses.replace(r, disturbed=True, warnings=(caveat,)) if r.round in rounds else r for r in records]


def interleaved() -> list[Record]:
    none = refused(job("mxnet"), "mxnet 1.9 needs CPython 3.8 or older", run=RUN)
    wavering = [n * (0.95 + 0.02 * (i % 3)) for i, n in enumerate(NOISE)]
    return [*shaky(in_rounds(TORCH, NOISE), 4), *in_rounds(FLOW, [1.2 * n for n in NOISE[::-1]], verified=None),
            *in_rounds(COMPILED, wavering, variant="execution=compiled"),
            dataclasses.replace(none, round=0, rounds=6)]


def several_runs() -> list[Record]:
    other = SYSTEM | {"cpu": SYSTEM["cpu"] | {"model": "AMD EPYC 9654", "usable": 16}}  # type: ignore[operator]
    return [*interleaved()[:12], *in_rounds(TORCH, [0.4 * n for n in NOISE], run="20251122-090000-3c4d", system=other),
            *in_rounds(FLOW, [0.5 * n for n in NOISE], run="20251122-090000-3c4d", system=other),
            finished(FLOW, ranks(FLOW), run="20251123-100000-5e6f", verified=CERTIFICATE)]


def explanation() -> Explanation:
    moves = ((Move("layout", "NHWC", "NCHW", "slow:layout=NCHW"), Factor(1.15, 1.13, 1.17, 0.42)),
             (Move("threads", "1", "2", "slow:threads=2"), Factor(0.99, 0.97, 1.01, -0.03)))
    kept = (Kept("execution", "graph cannot become eager: tf-horovod offers graph, not execution eager"),)
    return Explanation("tf-horovod", "pytorch-ddp", 6, Factor(1.4, 1.38, 1.42, 1.0), moves,
                       Factor(1.23, 1.2, 1.26, 0.61), kept)


def text(records: Sequence[Record], width: int, monkeypatch: pytest.MonkeyPatch, **how: object) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return comparisons_as("table", compare(records, Judging(**how)))  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_comparison_looks_as_it_was_approved(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    compare_golden(f"compared_{width}.txt", comparisons_as("table", compare(interleaved()), explanation()))
    compare_golden(f"compared_runs_{width}.txt", comparisons_as("table", compare(several_runs())))


def test_json_and_csv_look_as_they_were_approved() -> None:
    found = json.loads(comparisons_as("json", compare(several_runs()), explanation()))
    records = parse(json.dumps(found))
    assert {(r.run, r.id) for r in records} == {(r.run, r.id) for r in several_runs()}
    compare_golden("compared.json", json.dumps({k: v for k, v in found.items() if k != "records"}, indent=1) + "\n")
    compare_golden("compared.csv", comparisons_as("csv", compare(several_runs())))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_no_line_is_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in text(several_runs() + interleaved()[12:], width, monkeypatch).splitlines():
        assert len(line) <= width or line.startswith(("  log: ", "  dlcompare verify ")), line
        assert "…" not in line or width < 80, line


def test_the_first_line_says_what_was_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    first, command, *_ = text(interleaved(), 100, monkeypatch).splitlines()
    assert first == "not verified: tf-horovod; to prove that they compute the same, run"
    assert command == "  dlcompare verify --framework tf-horovod --model resnet50"
    proved = [r for r in interleaved() if r.framework == "pytorch-ddp"]
    assert not text(proved, 100, monkeypatch).startswith("not verified")
    differs = in_rounds(FLOW, NOISE, verified=CERTIFICATE | {"passed": False})
    assert text([*proved, *differs], 200, monkeypatch).startswith("verification FAILED: tf-horovod")
    assert text([*proved, *differs], 200, monkeypatch).count("verification FAILED") == 1


def test_the_remedy_names_execution_and_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = in_rounds(job("pytorch-ddp", execution="compiled", layout="NCHW"), NOISE, verified=None)
    line = text(odd, 160, monkeypatch).splitlines()[1]
    assert line.endswith("--model resnet50 --execution compiled --layout NCHW")
    usual = in_rounds(job("pytorch-ddp", execution="eager"), NOISE, verified=None)
    assert text(usual, 160, monkeypatch).splitlines()[1].endswith("--model resnet50")


def test_what_is_the_same_must_be_so_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, flow = in_rounds(TORCH, NOISE), in_rounds(FLOW, NOISE)
    said = flowing(text([*torch, *flow], 200, monkeypatch))
    assert "the same: initial parameters" in said and "loss trajectory (8 common steps up to step 17" in said
    assert "arithmetic, the reference's (certificates 9f1c2ab07d3e)" in said and "not proved" not in said
    later = tuple(LossPoint(item.step, (item.loss or 0.0) * (1 if item.step < 14 else 1.2)) for item in flow[3].loss)
    flow[3] = dataclasses.replace(flow[3], loss=later)
    said = flowing(text([*torch, *flow], 200, monkeypatch))
    assert "NOT the same: loss trajectory (8 common steps up to step 17, at most " in said
    assert "at step 14; bound 5 %, first beyond it at step 14)" in said
    assert "loss at step 0 (6.901 to 6.901, 0 % apart)" in said.partition("NOT")[0]


def test_stored_runs_say_what_cannot_be_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    said = flowing(text(several_runs(), 160, monkeypatch))
    assert "Across runs, to row 1 pytorch-ddp: no verdict" in said
    assert "measured at another time, on another machine (AMD EPYC 9654, 16 cores; Intel(R)" in said
    assert "were not interleaved with the baseline" in said
    alone = flowing(text([finished(TORCH), finished(FLOW)], 160, monkeypatch))
    assert "no verdict on tf-horovod: each ran once, one after the other, not interleaved in rounds" in alone
    for word in ("faster", "slower", "undecided"):
        assert f" {word} " not in alone


def test_warnings_of_many_rounds_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    said = flowing(text(shaky(interleaved()[:6], 1, 2), 100, monkeypatch))
    assert said.count("the machine was disturbed in") == 1
    assert "in 3 of 6 rounds, first: the machine was disturbed in 4 of 5 windows" in said


def test_csv_has_a_row_for_each_side_and_ratio() -> None:
    rows = list(csv.DictReader(io.StringIO(comparisons_as("csv", compare(several_runs())))))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["run"][:8], row["name"], row["baseline_run"][:8], row["verdict"]) for row in rows] == [
        ("20251121", "pytorch-ddp", "", ""), ("20251121", "tf-horovod", "20251121", "slower"),
        ("20251122", "pytorch-ddp", "20251121", ""), ("20251122", "tf-horovod", "20251122", "slower"),
        ("20251122", "tf-horovod", "20251121", ""), ("20251123", "tf-horovod", "20251121", "")]


def test_a_cold_start_is_its_phases_and_what_warm_up_took_beyond_steady_steps() -> None:
    one = job("pytorch-ddp", workers=1)
    made = finished(one, ranks(one, [2.0] * 5, steps=4, warmup=(9.5, 0.4, 0.9),
                               startup={"import": 2.0, "build": 1.0, "first_step": 9.5}), launch=0.5)
    (side,) = sides([made])
    cold = cold_start(side, batch=8)
    assert cold and cold.phases == pytest.approx({"launch": 0.5, "import": 2.0, "build": 1.0, "compile": 9.0 + 0.4})
    assert (cold.total, cold.step) == (pytest.approx(12.9), pytest.approx(0.5))
    assert cold_start(sides([refused(TORCH, "no")])[0], batch=8) is None


@pytest.mark.parametrize(("one", "base", "ahead", "steps"), [
    ((10, 0.5), (2, 1.0), "after", 16), ((2, 1.0), (10, 0.5), "until", 16), ((1, 0.5), (2, 1.0), "always", None),
    ((2, 1.0), (1, 0.5), "never", None), ((1, 1.0), (2, 1.0), "always", None), ((2, 1.0), (2, 1.0), "never", None),
])
def test_who_overtakes_whom(one: tuple[float, float], base: tuple[float, float], ahead: str, steps: int | None) -> None:
    found = overtaking(ColdStart({"build": one[0]}, one[1]), ColdStart({"build": base[0]}, base[1]))
    assert (found.ahead, found.steps) == (ahead, steps)
    if steps:
        assert one[0] + steps * one[1] == pytest.approx(base[0] + steps * base[1]) == found.seconds


def test_a_gap_falls_apart_into_factors() -> None:
    def with_(factor: float, variant: str, framework: str = "tf-horovod") -> list[Record]:
        return in_rounds(job(framework, seed=len(variant)), [factor * n for n in NOISE], variant=variant)

    records = [*with_(1.0, "", "pytorch-ddp"), *with_(1.8, ""), *with_(1.5, "layout=NCHW"),
               *with_(1.44, "data=synthetic"), *with_(0.9, "data=synthetic", "pytorch-ddp")]
    moves = [Move("layout", "NHWC", "NCHW", "tf-horovod:layout=NCHW"),
             Move("input path", "digits", "synthetic", "tf-horovod:data=synthetic", "pytorch-ddp:data=synthetic"),
             Move("execution", "graph", "compiled", "tf-horovod:execution=compiled")]
    broke = dataclasses.replace(failed(FLOW, "XLA broke", run=records[0].run), variant="execution=compiled", round=0)
    found = attribute("tf-horovod", "pytorch-ddp", moves, [Kept("threads", "1 on both sides")], [*records, broke])
    assert isinstance(found, Explanation)
    assert found.gap.ratio == pytest.approx(1.8)
    assert [(m.setting, f.ratio) for m, f in found.factors] == [
        ("layout", pytest.approx(1.2)), ("input path", pytest.approx(1.25 / (1 / 0.9)))]
    assert found.unexplained.ratio == pytest.approx(1.8 / 1.2 / 1.125)
    assert sum(f.share for _, f in found.factors) + found.unexplained.share == pytest.approx(1.0)
    assert found.kept == (Kept("threads", "1 on both sides"),
                          Kept("execution", "tf-horovod:execution=compiled failed: XLA broke"))
    assert "too few rounds" in str(attribute("tf-horovod", "pytorch-ddp", moves, [], records[:7]))
