"""Rounds: the order of jobs, what is left to run, and whole runs in rounds through the command line."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from asking import planned
from fabricated import STARTED, failed, in_rounds, job, refused
from running import Command

from dlcompare.core.judging.judging import AS_USUAL
from dlcompare.core.kinds.kind import kind
from dlcompare.core.plan import rounds
from dlcompare.core.plan.plan import MOST_ROUNDS, Plan
from dlcompare.core.plan.rounds import Cell
from dlcompare.core.records.record import Record

pytestmark = pytest.mark.slow  # whole runs, round by round

JOBS = tuple(job(name) for name in ("pytorch-ddp", "tf-horovod", "jax", "mxnet"))
Start = Callable[..., Command]
QUICK = {"SLOW_STEP": "0.02"}  # steps so short that processor time others use meanwhile is below its resolution


def plan(count: int = 6, **given: Any) -> Plan:
    return Plan("training", JOBS, rounds=count, **given)


def decided(records: Sequence[Record]) -> bool:
    return kind("training").decided(records, AS_USUAL)


def carried_out(wanted: Plan, outcome: Callable[[Cell], Record]) -> list[Cell]:
    """Return the cells that are run when each ends as it is told to."""
    records: dict[str, Record] = {}
    ran = []
    for (cell,) in rounds.to_run(wanted, records, decided):
        records[cell.folder] = dataclasses.replace(outcome(cell), id=cell.folder, round=cell.round)
        ran.append(cell)
    return ran


def fine(cell: Cell) -> Record:
    return in_rounds(cell.job, [1.0])[0]


def test_every_round_has_every_job_in_another_order() -> None:
    orders = [plan().order(number) for number in range(20)]
    assert all(set(order) == set(JOBS) for order in orders)
    assert len(set(orders)) > 8
    assert orders == [plan().order(number) for number in range(20)], "the seed decides"
    assert [plan(seed=1).order(number) for number in range(20)] != orders
    assert planned("reference", "reference:loaders=3", seed=5, rounds=2).seed == 5


def test_a_slow_drift_favours_nobody() -> None:
    places: Counter[str] = Counter()
    for number in range(6):
        places.update({one.framework: place for place, one in enumerate(plan().order(number))})
    assert set(places.values()) == {9}, "the same sum of places for all"


def test_one_round_keeps_the_order_and_the_folders_of_before() -> None:
    once = plan(1)
    assert once.order(0) == JOBS
    assert [cell.folder for (cell,) in rounds.to_run(once, {}, decided)] == [one.id for one in JOBS]


def test_the_plan_holds_the_order_that_is_run() -> None:
    written = json.loads(plan().to_json())["order"]
    ran = [cell.job.id for cell in carried_out(plan(), fine)]
    assert [ran[4 * n:4 * n + 4] for n in range(6)] == written


def test_what_is_done_is_not_run_again() -> None:
    cells = list(rounds.everything(plan(3)))
    done = {cell.folder: dataclasses.replace(fine(cell), id=cell.folder) for cell in cells[:7]}
    assert {cell.folder for (cell,) in rounds.to_run(plan(3), done, decided)} == {cell.folder for cell in cells[7:]}


def test_what_is_refused_runs_once_and_what_fails_twice_no_more() -> None:
    def outcome(cell: Cell) -> Record:
        if cell.job.framework == "mxnet":
            return refused(cell.job, "no", started=STARTED)
        broken = cell.job.framework == "jax" and cell.round != 1
        return failed(cell.job, "killed", started=STARTED) if broken else fine(cell)

    ran = carried_out(plan(), outcome)
    assert Counter(cell.job.framework for cell in ran) == {"pytorch-ddp": 6, "tf-horovod": 6, "mxnet": 1, "jax": 3}


def slower(cell: Cell, factor: float = 1.2) -> Record:
    noise = 1 + 0.001 * (cell.round or 0)
    made = in_rounds(cell.job, [(factor if cell.job.framework == "tf-horovod" else 1.0) * noise], rounds=None)[0]
    return dataclasses.replace(made, duration_s=10.0, run="run")


def test_rounds_end_when_all_is_decided() -> None:
    two = Plan("training", JOBS[:2], rounds=3, until=1000.0)
    assert len(carried_out(two, slower)) == 2 * 3
    noisy = carried_out(two, lambda cell: slower(cell, 1.2 if (cell.round or 0) % 2 else 0.8))
    assert len(noisy) == 2 * 50, "no more rounds than there is time for, 20 s each"
    rested = carried_out(two, lambda cell: dataclasses.replace(
        slower(cell, 1.2 if (cell.round or 0) % 2 else 0.8), cool_down=40.0))
    assert len(rested) == 2 * 10, "a rest before each job takes time as well"
    short = dataclasses.replace(two, until=5.0)
    assert len(carried_out(short, lambda cell: slower(cell, 0.8 + 0.1 * (cell.round or 0)))) == 2 * 3
    endless = dataclasses.replace(two, until=1e9)
    assert len(carried_out(endless, lambda cell: slower(cell, 0.8 + 0.4 * ((cell.round or 0) % 2)))) == 2 * MOST_ROUNDS


def printed(command: Command) -> dict[str, Any]:
    return json.loads(command._printed.read_text())  # type: ignore[no-any-return]


def test_a_slower_framework_is_called_slower(start_slow: Start) -> None:
    words = ("--framework", "rival,tuned,tuned:execution=compiled", "--rounds", "4", "--windows", "3")
    command = start_slow(*words, **QUICK)
    assert command.wait() == 0, command.told
    found = printed(command)
    (one,) = found["comparisons"]
    told = {verdict["name"]: verdict for verdict in one["verdicts"]}
    assert one["baseline"]["name"] == "rival"
    assert {name: verdict["word"] for name, verdict in told.items()} == {
        "tuned": "slower", "tuned:execution=compiled": "slower"}
    assert 1.6 < 1 / told["tuned"]["ratio"] < 1.9 and 1.1 < 1 / told["tuned:execution=compiled"]["ratio"] < 1.3
    kept = json.loads((command.runs[0] / "records.json").read_text())
    assert kept == sorted(found["records"], key=lambda r: r["round"])
    assert [(r["round"], r["rounds"]) for r in kept] == [(n, 4) for n in range(4) for _ in range(3)]
    assert {r["variant"] for r in kept} == {"", "execution=compiled"}
    order = json.loads((command.runs[0] / "plan.json").read_text())["order"]
    began = {event["time"]: file.parent.name for file in command.runs[0].glob("*/events.jsonl")
             for event in [json.loads(file.read_text().split("\n")[0])]}
    assert [began[time] for time in sorted(began)] == [f"{one}.r{n}" for n, ids in enumerate(order) for one in ids]
    pids = {json.loads(file.read_text())["pid"] for file in command.runs[0].glob("*/rank-0.json")}
    assert len(pids) == 12, "a fresh process each time"
    assert all(r["startup"]["launch"] > 0 for r in kept)
    assert "rival speck, round 1 of 4: ok" in command.told


def test_rounds_go_on_until_the_ratio_is_decided(start_slow: Start) -> None:
    command = start_slow("--framework", "tuned,rival", "--until-decided", "60", **QUICK)
    assert command.wait() == 0, command.told
    (one,) = printed(command)["comparisons"]
    (verdict,) = one["verdicts"]
    assert verdict["word"] == "faster" and 3 <= verdict["rounds"] <= 12
    assert {r["rounds"] for r in printed(command)["records"]} == {None}
    assert all(side["open_ended"] for side in one["sides"])


def test_an_interrupted_run_goes_on_in_the_middle_of_its_rounds(start_slow: Start) -> None:
    words = ("--framework", "tuned,rival", "--rounds", "3", "--windows", "5")
    command = start_slow(*words, **QUICK)
    while not any(file.read_text().count('"schema"') >= 3 for file in command.out.glob("*/records.json")):
        assert command.process.poll() is None
    command.process.send_signal(signal.SIGINT)
    assert command.wait(10) == 130
    before = json.loads((command.runs[0] / "records.json").read_text())
    assert 3 <= len(before) < 6
    again = start_slow(*words, "--resume", **QUICK)
    assert again.wait() == 0, again.told
    after = printed(again)["records"]
    assert len(again.runs) == 1 and len(after) == 6
    assert all(one in after for one in before)


def test_other_rounds_are_another_run(start_slow: Start) -> None:
    assert start_slow("--framework", "rival", "--rounds", "2", **QUICK).wait() == 0
    again = start_slow("--framework", "rival", "--rounds", "3", "--resume", **QUICK)
    assert again.wait() == 0
    assert len(again.runs) == 2


def test_what_else_the_machine_did_discards_the_sample(start_slow: Start) -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        command = start_slow("--framework", "slow,reference", "--rounds", "2", "--windows", "3", SLOW_STEP="0.4")
        assert command.wait() == 0, command.told
    finally:
        burner.kill()
        burner.wait()
    found = printed(command)
    slow = [r for r in found["records"] if r["framework"] == "slow"]
    assert all(r["disturbed"] and r["warnings"][0]["kind"] == "disturbed" for r in slow)
    assert all(window["foreign_cores"] > 0.5 for r in slow for window in r["windows"])
    (verdict,) = found["comparisons"][0]["verdicts"]
    assert verdict["word"] is None and verdict["discarded"] == 2 and "ran undisturbed" in verdict["reason"]


@pytest.mark.parametrize(("words", "told"), [
    (("--framework", "rival", "--explain"), "--explain compares frameworks: name at least two"),
    (("--framework", "rival", "--baseline", "tuned"), "unknown baseline 'tuned'"),
    (("--framework", "tuned", "--compile", "--execution", "eager"), "leave one of them out"),
    (("--framework", "tuned:exec=eager"), "Did you mean 'execution'"),
    (("--framework", "tuned", "--until-decided", "0"), "--until-decided"),
])
def test_bad_words_are_usage_errors(start_slow: Start, words: tuple[str, ...], told: str) -> None:
    command = start_slow(*words)
    assert command.wait() == 2
    assert told in command.told and "Traceback" not in command.told
    assert not command.runs


def test_compile_is_an_execution(start_slow: Start) -> None:
    command = start_slow("--framework", "tuned", "--compile", **QUICK)
    assert command.wait() == 0, command.told
    assert command.records()["tuned"]["job"]["execution"] == "compiled"


def test_stored_runs_are_compared(start_slow: Start, tmp_path: Path) -> None:
    first = start_slow("--framework", "tuned,rival", "--rounds", "3", **QUICK)
    assert first.wait() == 0, first.told
    second = start_slow("--framework", "rival", out=tmp_path / "elsewhere", **QUICK)
    assert second.wait() == 0, second.told
    paths = [str(first.runs[0]), str(second.runs[0] / "records.json"), str(first.runs[0])]
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", "compare", *paths, "--format", "json", "--baseline",
                           "rival"], capture_output=True, text=True, check=True)
    (one,) = json.loads(done.stdout)["comparisons"]
    assert [(v["name"], v["run"] == v["baseline_run"], v["word"]) for v in one["verdicts"]] == [
        ("tuned", True, "slower"), ("rival", False, None)]
    assert len(json.loads(done.stdout)["records"]) == 7
    text = subprocess.run([sys.executable, "-m", "dlcompare.core", "report", paths[0]], capture_output=True, text=True,
                          check=True).stdout
    assert "3 rounds, interleaved" in text
