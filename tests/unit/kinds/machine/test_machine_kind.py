"""A machine is measured once: what was disturbed is refused and told, what is absent has its reason, all is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boards
import pytest
from boards import Board, Clock, job
from fabricated import SYSTEM

from dlcompare.core.errors import UsageError
from dlcompare.core.kinds.kind import Answer, Request, Started, kind
from dlcompare.core.kinds.machine import conclusion, folding, matrix, worker
from dlcompare.core.kinds.machine.folding import fold
from dlcompare.core.kinds.machine.probe import Probe
from dlcompare.core.kinds.machine.request import BUSY, GPU_BUSY, NO_GPU, PROBES, TOO_BUSY, MachineJob, Own, is_more
from dlcompare.core.kinds.machine.result import MachineRecord, RankResult
from dlcompare.core.kinds.ops.result import OpsRecord, Timed
from dlcompare.core.launch import sampling
from dlcompare.core.machine import measured
from dlcompare.core.machine.measured import MATRIX, Measured, Rate, keep, known
from dlcompare.core.meters.meter import Metered, Quantity
from dlcompare.core.plan.plan import silent
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.recompute import recomputed
from dlcompare.core.records.record import Window
from dlcompare.core.run.metered import with_meters
from dlcompare.core.typed_json import from_plain
from dlcompare.core.variables import REPLAY_METERS
from dlcompare.core.worker.windows import Surroundings

MACHINE = kind("machine")
RAPL = Metered("rapl", "window", quantities=(Quantity("cpu package-0", "energy", "J"),))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))


def windows(*foreign: float | None, amount: int = 1_000_000_000, **more: Any) -> tuple[Window, ...]:
    return tuple(Window(steps=1, samples=amount, seconds=(0.5 + 0.001 * n,), started=1000.0 + n, foreign_cores=cores,
                        **more) for n, cores in enumerate(foreign))


def folded(probe: str, taken: Sequence[Window], **more: Any) -> MachineRecord:
    about = Started(run="run", system=SYSTEM, started=1000.0, folder=Path(), tell=silent)
    return fold(MACHINE, MachineJob(probe=probe), [RankResult(windows=tuple(taken), by="triad in C", **more)], about)


def concluded(records: Sequence[MachineRecord], monkeypatch: pytest.MonkeyPatch, products: tuple[Rate, ...] = (),
              own: Own | None = None, lacking: Mapping[str, str] | None = None) -> MachineRecord:
    monkeypatch.setattr(matrix, "rates", lambda run, wanted, before: (products, dict(lacking or {})))
    monkeypatch.setattr(conclusion, "system", lambda: SYSTEM)
    run: Any = SimpleNamespace(folder=Path("run"))
    found, = conclusion.conclude(MACHINE, MACHINE.plan(Request(own=own or Own())), run, records)  # type: ignore[arg-type]
    assert isinstance(found, MachineRecord)
    return found


def test_every_probe_is_a_job_and_gpus_that_are_not_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = MACHINE.plan(Request(own=Own()))
    assert {job.probe for job in plan.jobs} >= set(PROBES)  # type: ignore[attr-defined]
    refused = {job.probe for job in plan.jobs if job.id in plan.refusals}  # type: ignore[attr-defined]
    assert refused == set() or set(plan.refusals.values()) == {NO_GPU}


def test_a_probe_becomes_a_rate_with_its_interval() -> None:
    record = folded("memory", windows(0.0, 0.0, 0.0, 0.0, 0.0), size=1 << 20, version="cc 12.2.0")
    found = conclusion.rate(record)
    assert found.value == pytest.approx(1e9 / 0.502) and found.best == pytest.approx(2e9) and found.n == 5
    assert found.low and found.high and found.low <= found.value <= found.high
    assert (found.what, found.name, found.by, found.version, found.threads) == ("memory", "triad", "triad in C",
                                                                                "cc 12.2.0", 1)


@pytest.mark.parametrize(("state", "name"), [("", "cold"), ("below a hypervisor, whose own cache may hold it",
                                                           "lukewarm")])
def test_below_a_hypervisor_cold_is_called_lukewarm(state: str, name: str) -> None:
    assert conclusion.rate(folded("disk-cold", windows(0.0, 0.0, 0.0), state=state)).name == name


def test_a_rate_of_a_busy_machine_is_refused_and_the_rest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, good = folded("pipe", windows(1.0, 1.0, 1.0, 0.0, 1.0)), folded("memory", windows(0.0, 0.0, 0.0))
    assert busy.disturbed and not good.disturbed
    found = concluded([busy, good], monkeypatch)
    assert found.measured and [one.name for one in found.measured.rates] == ["triad"]
    assert found.measured.absent == {"exchange: pipe": BUSY} and found.disturbed
    assert not MACHINE.passed([busy, good, found]) and known(SYSTEM) == found.measured


def test_a_machine_too_busy_for_anything_leaves_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert concluded([folded("memory", windows(1.0, 1.0, 1.0))], monkeypatch).measured and known(SYSTEM) is None
    before = concluded([folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch).measured
    concluded([folded("pipe", windows(1.0, 1.0, 1.0))], monkeypatch)
    after = known(SYSTEM)
    assert before and after and after.rates == before.rates and after.absent == {"exchange: pipe": BUSY}


def test_what_is_measured_again_on_a_busy_machine_stays_as_it_was_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(whole(fingerprint=measured.fingerprint(SYSTEM), absent={}))
    again = Own(again=True)
    watts = windows(1.0, 1.0, 1.0, joules={"cpu package-0": 50.0})
    taken = [folded("memory", windows(1.0, 1.0, 1.0)), folded("disk-cold", windows(1.0, 1.0, 1.0)),
             folded("loopback", windows(0.0, 0.0, 0.0)), folded("idle", watts, meters=(RAPL,))]
    lacking = {matrix.called(name, "fp32", "cpu", None): why for name, why in (("jax", BUSY), ("tf-horovod", "broke"))}
    found = concluded(taken, monkeypatch, own=again, lacking=lacking)
    after = known(SYSTEM)
    assert after and after == found.measured and found.disturbed and not MACHINE.passed([found])
    assert {one for one in after.rates if one.what != measured.EXCHANGE} == set(RATES[:4])
    assert [one.by for one in after.rates if one.what == measured.EXCHANGE] == ["triad in C"], "that one is new"
    assert after.idle_watts == {"cpu package-0": 21.5}
    busy = {"memory: triad with 1 threads", "disk: cold", "power: idle", "matrix: jax, fp32 on cpu"}
    assert after.absent.keys() == {*busy, "matrix: tf-horovod, fp32 on cpu"}
    assert all("busy machine, which is refused: what was known on 2026-11-30 stays" in after.absent[name]
               for name in busy)
    assert "came to nothing (broke)" in after.absent["matrix: tf-horovod, fp32 on cpu"]
    text = " ".join(MACHINE.report(Answer([found]), "table", None).split())
    assert "not new: matrix: jax, fp32 on cpu; memory: triad with 1 threads; disk: cold; power: idle: measured" in text
    assert not is_more(Own(), after), "there is nothing to measure but all anew"
    assert not concluded([], monkeypatch).disturbed, "what was refused then is not refused now"
    assert known(SYSTEM) and known(SYSTEM).absent == after.absent, "nor is it forgotten"  # type: ignore[union-attr]
    keep(dataclasses.replace(after, measured="2027-01-01T00:00:00+00:00"))
    twice = concluded(taken[:1], monkeypatch, own=again).measured
    assert twice and "on 2026-11-30 stays" in twice.absent["memory: triad with 1 threads"]
    assert matrix.called("jax", "fp32", "cpu", None) not in twice.absent


def test_products_stay_known_where_no_environment_is_left_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(whole(fingerprint=measured.fingerprint(SYSTEM), absent={}))
    lacking = {f"{MATRIX} on cpu": "no framework's environment is ready for it"}
    found = concluded([folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch, own=Own(again=True), lacking=lacking)
    assert [one.by for one in found.measured.rates if one.what == MATRIX] == ["tf-horovod", "jax"]
    assert "came to nothing (no framework's environment" in found.measured.absent[f"{MATRIX} on cpu"]


@pytest.mark.parametrize(("asked", "kept"), [("none", ["tf-horovod", "jax"]), ("jax", ["tf-horovod"]), ("all", [])])
def test_products_of_frameworks_that_are_not_asked_again_stay_known(
        asked: str, kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    keep(whole(fingerprint=measured.fingerprint(SYSTEM), absent={}))
    concluded([folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch, own=Own(again=True, matrix=asked))
    after = known(SYSTEM)
    assert after and [one.by for one in after.rates if one.what == MATRIX] == kept
    assert [one.what for one in after.rates if one.what != MATRIX] == [measured.MEMORY]


def test_what_the_machine_was_too_busy_for_is_measured_the_next_time_and_the_rest_is_not(
        monkeypatch: pytest.MonkeyPatch) -> None:
    keep(dataclasses.replace(whole(), fingerprint=measured.fingerprint(measured_system())))
    wanted = {(job.probe, job.threads) for job in MACHINE.plan(Request(own=Own())).jobs}  # type: ignore[attr-defined]
    assert {"pipe", "shared-memory", "disk-warm"} <= {probe for probe, _ in wanted}
    assert not {"loopback", "disk-cold", "idle"} & {probe for probe, _ in wanted} and ("memory", 1) not in wanted
    everything = MACHINE.plan(Request(own=Own(again=True))).jobs
    assert {job.probe for job in everything} >= set(PROBES)  # type: ignore[attr-defined]
    answer = MACHINE.answer(Request(own=Own()), lambda plan: [])
    assert answer.explanation is None  # it was measured on


def test_frameworks_whose_rates_are_known_are_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def ask(run: Any, names: Sequence[str], device: str, precision: str, *, threads: int | None = None) -> Any:
        asked.append((list(names), precision, threads))
        return [], {}

    monkeypatch.setattr(matrix, "asked", ask)
    monkeypatch.setattr(matrix, "gpus", lambda: 0)
    monkeypatch.setattr(matrix, "usable", lambda: 2)
    monkeypatch.setattr(matrix, "has_units", lambda precision: precision == "fp32")
    _, lacking = matrix.rates(SimpleNamespace(), "jax,mxnet,tf-horovod", RATES)  # type: ignore[arg-type]
    assert asked == [(["mxnet"], "fp32", None), (["tf-horovod"], "fp32", 1)]
    assert lacking["matrix: bf16 on cpu"] == matrix.EMULATED
    assert matrix.rates(SimpleNamespace(), "none", RATES) == ((), {})  # type: ignore[arg-type]
    assert "no framework was asked" in matrix.rates(SimpleNamespace(), "none", ())[1][MATRIX]  # type: ignore[arg-type]


def test_a_machine_left_alone_takes_watts_by_what_a_meter_covers() -> None:
    one = folded("idle", windows(0.0, 0.0, joules={"cpu package-0": 15.0}), meters=(RAPL,))
    assert one.watts == {"cpu package-0": pytest.approx(30 / 1.001)} and one.throughput is None
    none = folded("idle", windows(0.0, 0.0), meters=(Metered("rapl", "window", reason="no such folder"),))
    assert (none.status, none.reason) == ("refused", "no meter of energy can be read here (rapl: no such folder)")


def test_a_busy_machine_without_a_meter_lacks_the_meter_and_no_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    record = folded("idle", windows(1.0, 1.0, 1.0), meters=(Metered("rapl", "window", reason="no such folder"),))
    found = concluded([record, folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch)
    assert found.measured and "no such folder" in found.measured.absent["power: idle"]
    assert MACHINE.passed([record, found]) and not record.warnings


def test_a_copy_through_a_gpu_that_others_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for busy, refused in ((3.0, True), (0.0, False)):
        clock = Clock()
        board = Board(job(0, busy, busy=320), clock)
        meter = (boards.record(board, clock, tmp_path / "made.jsonl", seconds=8.0),)
        monkeypatch.setattr(folding, "sampled_beside", lambda folder, meter=meter: meter)
        record = folded("gpu-host-to-device", windows(0.0, 0.0, 0.0))
        assert record.disturbed == refused and (record.gpu_use or 0.0) == pytest.approx(0.97 if refused else 0.0)
        assert [one.kind for one in record.warnings] == ["gpu in use"] * refused
        found = concluded([record], monkeypatch).measured
        assert found and found.absent == ({"copy: host to device": GPU_BUSY} if refused else {})
        assert len(found.rates) == (not refused) and is_more(Own(matrix="none"), found) == refused
        assert recomputed(MachineRecord.from_json(record.to_json())) == record
        text = " ".join(MACHINE.report(Answer([record, concluded([record], monkeypatch)]), "table", None).split())
        assert ("something else used gpu 0 for 97 % of the time" in text) == refused


@pytest.mark.slow
@pytest.mark.parametrize("watts", [70.0, 320.0])
def test_a_gpu_left_alone_takes_watts_and_one_that_others_use_is_not_left_alone(
        watts: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real sampler beside the real worker, from a recording; a board that takes 320 W works."""
    clock = Clock()
    boards.record(Board(lambda now: watts, clock), clock, tmp_path / "made.jsonl", seconds=3.0)
    monkeypatch.setenv(REPLAY_METERS, str(tmp_path / "made.jsonl"))
    job = MachineJob(probe="idle", accelerator="cuda", windows=3, window_seconds=1.0)
    with sampling.sampled(job, tmp_path, idle=1.0):
        worker.work(job, tmp_path, lambda *about, **more: None)
    rank = from_plain(RankResult, json.loads((tmp_path / "rank-0.json").read_text()), what="rank")
    about = Started(run="run", system=SYSTEM, started=1000.0, folder=tmp_path, tell=silent)
    record = with_meters(fold(MACHINE, job, [rank], about), [rank], tmp_path)
    assert record.watts and record.watts["gpu 0"] == pytest.approx(watts, abs=1)
    assert record.gpu_use == pytest.approx(0.97 if watts > 100 else 0.0)
    kept = concluded([record], monkeypatch).measured
    assert kept
    if watts > 100:
        assert kept.idle_watts == {} and kept.absent["power: idle"] in TOO_BUSY and record.disturbed
    else:
        assert record.disturbed or kept.idle_watts == record.watts
        assert not any(caveat.kind == "altered" for caveat in recomputed(record).warnings)


def test_a_gpu_without_a_meter_is_said_beside_the_watts_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Metered("nvidia", "series", reason="nvidia-ml-py is not installed")
    one = folded("idle", windows(0.0, 0.0, joules={"cpu package-0": 15.0}), meters=(RAPL, lost))
    beside = dataclasses.replace(one, job={**one.job, "accelerator": "cuda"})
    found = concluded([beside, folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch).measured
    assert found and found.absent == {"power: idle, of GPUs": "nvidia: nvidia-ml-py is not installed"}
    found = concluded([one, folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch).measured
    assert found and found.absent == {}


def test_what_a_probe_finds_absent_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    record = folded("disk-cold", (), absent="it lies in memory")
    assert (record.status, record.reason) == ("refused", "it lies in memory") and MACHINE.passed([record])
    found = concluded([record, folded("memory", windows(0.0, 0.0, 0.0))], monkeypatch).measured
    assert found and found.absent == {"disk: cold": "it lies in memory"}


@pytest.mark.parametrize(("foreign", "kept", "out"), [
    ([0.0] * 9, 5, 0), ([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 8, 0), ([1.0] * 12 + [0.0] * 5, 9, 8),
    ([1.0] * 20, 5, 15), ([1.0] * 18 + [0.0] * 2, 5, 15)])
def test_windows_are_taken_on_while_others_keep_the_machine_busy(
        foreign: list[float], kept: int, out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter(foreign)
    monkeypatch.setattr(worker, "watch", lambda take, meters=None: (take(), Surroundings(foreign_cores=next(seen))))
    monkeypatch.setattr(worker, "PAUSE", 0.0)
    monkeypatch.setattr(worker, "system", lambda: SYSTEM)
    found = worker.measured(MachineJob(probe="pipe"), Probe(lambda steps: 0.5, 10, "pipe"), lambda *a, **k: None)
    assert (len(found.windows), found.left_out) == (kept, out)
    record = folded("pipe", found.windows)
    assert record.disturbed == (foreign.count(0.0) < 3)


def timed(forward: Sequence[float], step: Sequence[float], name: str = "matmul:1024") -> Timed:
    return Timed(name, "", "matmul", 1, 1, 10, 20, forward=windows(*forward, amount=10**11),
                 step=windows(*step, amount=2 * 10**11))


def products(*found: Timed, status: str = "ok") -> OpsRecord:
    return OpsRecord(status=status, reason=None if status == "ok" else "it broke", id="x", run="run",
                     started="2026-11-30T00:00:00+00:00", framework="jax", precision="fp32", system=SYSTEM, timed=found,
                     job={"threads": 2}, reproduce="", environment={"jax": "0.10.2", "python": "3.11.7"})


def test_the_rate_of_a_product_is_forwards_or_a_steps_whichever_is_more() -> None:
    quiet = [0.0] * 5
    one, = matrix.taken(products(timed(quiet, quiet)))
    assert (one.value, one.size, one.by, one.version, one.threads) == (
        pytest.approx(4e11 / 1.004), 1024, "jax", "jax 0.10.2", 2)


def test_products_on_a_busy_machine_are_asked_again_and_then_refused(tmp_path: Path) -> None:
    busy, quiet = [1.0] * 5, [0.0] * 5
    assert list(matrix.taken(products(timed(busy, busy)))) == []
    asked: list[str] = []

    def carry_out(plan: Any, name: str) -> list[OpsRecord]:
        asked.append(name)
        return [products(timed(*((quiet, quiet) if len(asked) > 2 and not never else (busy, busy))))]

    run: Any = SimpleNamespace(carry_out_beside=carry_out)
    never = False
    found, lacking = matrix.asked(run, ["jax"], "cpu", "fp32")
    assert asked == ["matrix-cpu-fp32", "matrix-cpu-fp32-again-1", "matrix-cpu-fp32-again-2"]
    assert len(found) == 1 and not lacking
    never = True
    found, lacking = matrix.asked(run, ["jax"], "cpu", "fp32")
    assert not found and lacking == {"matrix: jax, fp32 on cpu": BUSY}


def test_products_on_a_gpu_that_others_use_are_asked_again_and_then_refused(tmp_path: Path) -> None:
    quiet, asked = [0.0] * 5, list[str]()

    def carry_out(plan: Any, name: str) -> list[OpsRecord]:
        asked.append(name)
        clock = Clock()
        busy = 0.0 if len(asked) > 1 and not never else 9.0
        meter = boards.record(Board(job(0, busy), clock), clock, tmp_path / f"{name}.jsonl", seconds=6.0)
        return [dataclasses.replace(products(timed(quiet, quiet)), meters=(meter,), devices=(("gpu 0",),))]

    run: Any = SimpleNamespace(carry_out_beside=carry_out)
    never = False
    found, lacking = matrix.asked(run, ["jax"], "cpu", "fp32")
    assert len(asked) == 2 and len(found) == 1 and not lacking
    never = True
    assert matrix.asked(run, ["jax"], "cpu", "fp32") == ([], {"matrix: jax, fp32 on cpu": GPU_BUSY})
    assert matrix.still_lacking({"matrix: jax, fp32 on cpu": GPU_BUSY}, ()), "so the same command asks again"


def test_a_framework_that_is_refused_is_told_and_the_others_are_asked() -> None:
    def carry_out(plan: Any, name: str) -> list[OpsRecord]:
        assert [one.framework for one in plan.jobs] == ["jax"] and all(one.measures_peak for one in plan.jobs)
        return [products(timed([0.0] * 5, [0.0] * 5))]

    run: Any = SimpleNamespace(carry_out_beside=carry_out)
    found, lacking = matrix.asked(run, ["mxnet", "jax"], "cpu", "fp16")
    assert len(found) == 1 and lacking.keys() == {"matrix: mxnet, fp16 on cpu"}
    assert matrix.asked(run, ["mxnet"], "cpu", "fp16") == ([], lacking)
    text = " ".join(MACHINE.report(Answer([], explanation=whole(absent=lacking)), "table", None).split())
    assert all(f"not measured: {what}: {' '.join(why.split())}" in text for what, why in lacking.items())


def test_a_framework_that_fails_is_told_and_not_asked_again() -> None:
    run: Any = SimpleNamespace(carry_out_beside=lambda plan, name: [products(status="failed")])
    assert matrix.asked(run, ["jax"], "cpu", "fp32") == ([], {"matrix: jax, fp32 on cpu": "it broke"})


def test_a_precision_that_the_processor_has_no_units_for_is_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "topology", lambda: {"extensions": {"AVX-512 BF16": True}})
    assert [matrix.has_units(name) for name in ("fp32", "tf32", "bf16", "fp16")] == [True, False, True, False]


def test_products_that_are_lacking_stay_so_until_they_have_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "usable", lambda: 2)
    before = {"matrix: jax, fp32 on cpu": BUSY, "matrix: mxnet, fp32 on cpu": BUSY, "exchange: pipe": BUSY,
              "matrix: tf-horovod, fp32 on cpu, 1 thread": BUSY, "matrix: fp16 on cpu": matrix.EMULATED}
    assert matrix.still_lacking(before, RATES) == {
        "matrix: mxnet, fp32 on cpu": BUSY, "matrix: tf-horovod, fp32 on cpu, 1 thread": BUSY}


def test_a_machine_whose_frameworks_were_never_asked_has_more_to_tell() -> None:
    bare = whole(rates=RATES[2:], absent={})
    assert is_more(Own(), bare) and not is_more(Own(matrix="none"), bare)
    assert is_more(Own(matrix="jax"), whole(absent={})) and not is_more(Own(), whole(absent={}))


RATES = (
    Rate(MATRIX, "fp32", 207e9, 199e9, 211e9, 212e9, 5, "FLOP/s", "tf-horovod", "tensorflow 2.15.1", threads=2,
         size=2048),
    Rate(MATRIX, "fp32", 180e9, 170e9, 186e9, 190e9, 5, "FLOP/s", "jax", "jax 0.10.2", threads=2, size=1024),
    Rate(measured.MEMORY, "triad", 29e9, 28e9, 30e9, 31e9, 5, "B/s", "triad in C", "cc 12.2.0", threads=1,
         size=402653184),
    Rate(measured.DISK, "lukewarm", 1.1e9, 1e9, 1.2e9, 1.3e9, 5, "B/s", "read", size=256 << 20),
    Rate(measured.EXCHANGE, "loopback", 3e9, None, None, 3.1e9, 1, "B/s", "TCP over loopback", "6.18"))


def whole(**more: Any) -> Measured:
    built = {"sockets": 1, "cores": 2, "threads": 2, "hypervisor": True,
             "extensions": {"AVX2": True, "AMX BF16": False},
             "caches": [{"level": 3, "type": "unified", "bytes": 32 << 20, "shared_by": 2, "count": 1}],
             "cgroup": {"cpus": 1.5}, "links": [{"gpus": [0, 1], "path": "NV18", "nvlinks": 18}]}
    return Measured(**{"fingerprint": measured.fingerprint(SYSTEM), "measured": "2026-11-30T10:00:00+00:00",
                       "seconds": 61.0, "rates": RATES, "topology": built, "idle_watts": {"cpu package-0": 21.5},
                       "absent": {"copy: host to device": NO_GPU, "exchange: pipe": BUSY}, **more})


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_reads_all_of_it_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = MACHINE.report(Answer([], explanation=whole()), "table", None)
    assert max(map(len, text.splitlines())) <= width
    flowing = " ".join(text.split())
    for words in ("1 socket, 2 cores, 2 threads", "1.5 allowed by the control group", "below a hypervisor", "AVX2",
                  "(not: AMX BF16)", "GPU 0 to GPU 1: NV18", "idle: cpu package-0 21.50 W", "207.0 GFLOP/s",
                  "29.00 GB/s", "lukewarm", BUSY, NO_GPU):
        assert words in flowing, words
    assert "fp32, 2 threads *" in flowing and flowing.count("*") == 2  # the best alone, and what the star means


def test_what_is_known_is_told_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(plan: Any) -> Any:
        raise AssertionError("it measured")

    mine = whole(fingerprint=measured.fingerprint(measured_system()), absent={"copy: host to device": NO_GPU})
    keep(mine)
    answer = MACHINE.answer(Request(own=Own()), never)
    assert answer.explanation == mine and json.loads(MACHINE.report(answer, "json", None))["seconds"] == 61.0
    with pytest.raises(AssertionError, match="it measured"):
        MACHINE.answer(Request(own=Own(again=True)), never)


def measured_system() -> dict[str, Any]:
    from dlcompare.core.machine.system import system

    return system()


def test_a_stored_run_tells_what_it_concluded() -> None:
    job = MachineJob()
    record = MachineRecord(status="ok", id=job.id, run="run", started="2026-11-30T00:00:00+00:00", framework="whole",
                           job=job.to_plain(), reproduce="", measured=whole(), warnings=(Caveat.told("a doubt"),))
    again = MachineRecord.from_json(record.to_json())
    assert again == record
    text = MACHINE.report(Answer([again]), "table", None)
    assert "207.0 GFLOP/s" in text and "a doubt" in text
    cut = MACHINE.report(Answer([folded("pipe", windows(0.0, 0.0, 0.0))]), "table", None)
    assert "the run was ended before" in cut


def test_a_roofline_that_cannot_be_written_costs_no_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    mine = whole(fingerprint=measured.fingerprint(measured_system()), absent={})
    keep(mine)
    (tmp_path / "roof.png").mkdir()
    answer = MACHINE.answer(Request(own=Own(plot=tmp_path / "roof.png")), lambda plan: [])
    assert answer.explanation == mine and "cannot write" in answer.missed


def test_the_roofline_is_drawn_and_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlcompare.core.reports.roofline import figure

    figure.draw(whole(), tmp_path / "roof.png", [])
    assert (tmp_path / "roof.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UsageError, match="no roof is known"):
        figure.draw(whole(rates=()), tmp_path / "none.png", [])
    for own, words in ((Own(plot=Path("roof.gif")), "--plot draws"), (Own(points="runs/x"), "name its file as well"),
                       (Own(plot=tmp_path / "a.png", points=str(tmp_path / "none")), "holds no records.json"),
                       (Own(matrix="pytroch"), "unknown framework 'pytroch'")):
        with pytest.raises(UsageError, match=words):
            MACHINE.answer(Request(own=own), lambda plan: [])


def test_a_run_of_another_machine_is_no_point_under_these_roofs(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlcompare.core.kinds.machine.report import points_of
    from dlcompare.core.run import stored

    there: Any = SimpleNamespace(throughput=1.0, bounds=SimpleNamespace(intensity=4.0), system=SYSTEM)
    mine: Any = SimpleNamespace(throughput=1.0, bounds=SimpleNamespace(intensity=4.0), system=measured_system())
    monkeypatch.setattr(stored, "read", lambda path: [mine] if path.name == "mine" else [there])
    assert points_of("mine") == [mine]
    with pytest.raises(UsageError, match="theirs was run on another machine"):
        points_of("mine,theirs")
