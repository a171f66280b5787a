"""A sweep is every combination of what was given several values, each planned as if it alone had been asked for."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

import pytest
from asking import planned
from fabricated import failed, finished, in_rounds, job

from dlcompare.core.errors import UsageError
from dlcompare.core.judging.verdict import compare
from dlcompare.core.launch.failure import killed
from dlcompare.core.plan import rounds, sweep
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plugins.job import Job
from dlcompare.core.records.record import Record

NO_MEMORY = "memory ran out (MemoryError: Unable to allocate 9 GiB); try a smaller --batch or fewer --workers"


def cells(plan: Plan) -> list[tuple[Any, ...]]:
    return [(job.runtime, *plan.points[job.id].values()) for job in plan.jobs]


def test_every_combination_is_a_point_and_small_batches_come_first() -> None:
    plan = planned("pytorch-ddp", "jax", batch=(32, 8), threads=(2, 1))
    assert cells(plan) == [(name, threads, batch) for threads in (1, 2) for batch in (8, 32)
                           for name in ("pytorch-ddp", "jax")]
    assert all(isinstance(job, Job) and plan.points[job.id] == {"threads": job.threads, "batch": job.batch}
               for job in plan.jobs)


@pytest.mark.parametrize(("axis", "values"), [
    ("model", ("resnet18", "alexnet")), ("image_size", (64, 96)), ("precision", ("fp32", "bf16")),
    ("execution", ("eager", "compiled")), ("workers", (1, 2)), ("threads", (1, 2)), ("batch", (4, 8))])
def test_whatever_may_be_swept_is(axis: str, values: tuple[Any, ...]) -> None:
    plan = planned("pytorch-ddp", **{"image_size": 64, axis: values})
    assert [getattr(job, axis) for job in plan.jobs] == list(values)
    assert [dict(plan.points[job.id]) for job in plan.jobs] == [{axis: value} for value in values]


def test_what_the_machine_chooses_is_chosen_at_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    plan = planned("pytorch-ddp", workers=(1, 2, 4))
    assert [job.threads for job in plan.jobs if isinstance(job, Job)] == [8, 4, 2]


def test_one_value_is_no_sweep() -> None:
    plan = planned("reference", batch=8)
    assert not plan.points and planned("reference", batch=(8,)).digest == plan.digest
    assert not planned("reference", batch=(8,)).points


def test_a_cell_that_cannot_run_is_refused_and_the_others_are_not() -> None:
    plan = planned("reference", workers=(1, 2), precision=("fp32", "bf16"))
    refused = {(job.workers, job.precision) for job in plan.jobs if isinstance(job, Job) and job.id in plan.refusals}
    assert {(2, "fp32"), (2, "bf16")} <= refused and (1, "fp32") not in refused


def test_a_point_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match=r"at batch 1: a batch of 1 leaves batch norm"):
        planned("reference", batch=(1, 2))
    with pytest.raises(UsageError, match=r"at model resnet51: unknown model"):
        planned("reference", model=("resnet18", "resnet51"))


def test_a_side_may_not_fix_what_is_swept() -> None:
    with pytest.raises(UsageError, match=r"pytorch-ddp:batch=4 is the same job at batch 8 and at batch 16"):
        planned("pytorch-ddp", "pytorch-ddp:batch=4", batch=(8, 16))
    with pytest.raises(UsageError, match=r"at batch 16: pytorch-ddp and pytorch-ddp:batch=16 are the same job"):
        planned("pytorch-ddp", "pytorch-ddp:batch=16", batch=(8, 16))


def test_a_gap_is_explained_at_one_point_alone() -> None:
    with pytest.raises(UsageError, match="--explain explains one gap"):
        planned("pytorch-ddp", "jax", own={"explain": True}, batch=(8, 16))


def test_how_large_a_sweep_is_is_told_before_it_starts() -> None:
    heard: list[str] = []
    planned("pytorch-ddp", "jax", batch=(8, 16, 32), rounds=4, tell=lambda _, event: heard.append(event["text"]))
    assert heard == ["3 combinations, 6 cells x 4 rounds = 24 jobs, about 7 min at least"]
    planned("reference", workers=(1, 2), steps=3, tell=lambda _, event: heard.append(event["text"]))
    assert heard[1] == "2 combinations, 2 cells (1 of them refused) = 2 jobs, about 8 s at least"
    with pytest.raises(UsageError, match=r"= 2,004 jobs, about .*at most 2,000 jobs are planned; name fewer values"):
        planned("pytorch-ddp", "jax", batch=(8, 16), rounds=501)


def swept(**more: Any) -> Plan:
    return planned("pytorch-ddp", "jax", batch=(8, 16, 32), threads=(1, 2), **more)


def with_record(plan: Plan, which: tuple[Any, ...], reason: str | None, number: int | None = None) -> dict[str, Record]:
    """Return a plan's records when one cell alone has run; ``reason`` None: well."""
    (wanted,) = [job for job, cell in zip(plan.jobs, cells(plan), strict=True) if cell == which]
    one = rounds.cell(plan, wanted, number)
    assert isinstance(one.job, Job)
    made = failed(one.job, reason) if reason else finished(one.job)
    return {one.folder: dataclasses.replace(made, **rounds.stamp(plan, one))}


def ended(plan: Plan, records: dict[str, Record]) -> dict[tuple[Any, ...], str]:
    found = {cell: sweep.ended(plan, job, records) for job, cell in zip(plan.jobs, cells(plan), strict=True)}
    return {cell: reason for cell, reason in found.items() if reason}


@pytest.mark.parametrize("number", [None, 1])
def test_where_memory_ran_out_larger_batches_of_the_same_cell_are_not_tried(number: int | None) -> None:
    plan = swept(rounds=1 if number is None else 3)
    found = ended(plan, with_record(plan, ("jax", 2, 16), NO_MEMORY, number))
    assert found.keys() == {("jax", 2, 32)}
    assert "with batch 16 memory ran out already, in jax-resnet18-fp32-w1-" in found["jax", 2, 32]


def test_workers_that_may_have_died_of_it_end_a_branch_as_well() -> None:
    """Native code goes on with an allocation that failed, and crashes."""
    plan = swept()
    found = ended(plan, with_record(plan, ("jax", 1, 8), killed("worker process 17", signal.SIGKILL)))
    assert found.keys() == {("jax", 1, 16), ("jax", 1, 32)}
    assert "with batch 8 workers died, perhaps for want of memory, already" in found["jax", 1, 32]


def test_another_failure_ends_no_branch_nor_does_a_success() -> None:
    plan = swept()
    assert not ended(plan, with_record(plan, ("jax", 2, 8), "the loss is not finite"))
    assert not ended(plan, with_record(plan, ("jax", 2, 8), None))
    ran = with_record(plan, ("jax", 2, 32), None) | with_record(plan, ("jax", 2, 16), NO_MEMORY)
    assert not ended(plan, ran), "it fitted before"
    once = planned("jax", batch=16)
    assert not sweep.ended(once, once.jobs[0], {once.jobs[0].id: failed(once.jobs[0], NO_MEMORY)})


def test_what_ran_out_of_memory_is_not_tried_in_further_rounds() -> None:
    plan = swept(rounds=3)
    records = with_record(plan, ("jax", 2, 16), NO_MEMORY, 0)
    (name,) = records
    left = [one for (one,) in rounds.to_run(plan, records, lambda _: False) if one.folder.startswith(name[:-3])]
    assert not left
    broken = with_record(plan, ("jax", 2, 16), "the loss is not finite", 0)
    tried = [one for (one,) in rounds.to_run(plan, broken, lambda _: False) if one.folder.startswith(name[:-3])]
    assert len(tried) == 2


def test_no_verdict_joins_two_points() -> None:
    records = [dataclasses.replace(one, point={"batch": batch}) for batch, factor in ((8, 1.0), (16, 0.5))
               for name in ("pytorch-ddp", "jax") for one in in_rounds(job(name, batch=batch), [factor] * 4)]
    found = compare(records)
    assert [one.point for one in found] == [{"batch": 8}, {"batch": 16}]
    assert [(verdict.name, verdict.word) for one in found for verdict in one.verdicts] == [("jax", "same")] * 2


def test_largest_batches_that_are_unlike_get_no_verdict() -> None:
    trial = {"batch": 8, "fits": True, "seconds": 1.0, "reason": None}
    records = [dataclasses.replace(one, job={**one.job, "tried": [trial]}) for name, batch in (
        ("pytorch-ddp", 8), ("jax", 16)) for one in in_rounds(job(name, batch=batch), [1.0, 1.0, 1.0])]
    (verdict,) = compare(records)[0].verdicts
    assert verdict.word is None and "of unlike batch, 32 and 16 in all" in str(verdict.reason)
