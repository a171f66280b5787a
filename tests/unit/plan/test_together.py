"""Which jobs of a round run side by side."""

from __future__ import annotations

import dataclasses

from fabricated import finished, job

from dlcompare.core.kinds.kind import kind
from dlcompare.core.plan import rounds
from dlcompare.core.plan.plan import Plan

JOBS = (job("pytorch-ddp"), job("tf-horovod"), job("pytorch-ddp", image_size=96), job("jax", port=7000))
TRAINING = kind("training")


def test_jobs_of_one_network_run_side_by_side_and_others_by_themselves() -> None:
    found = list(rounds.to_run(Plan("training", JOBS, rounds=2), {}, lambda records: True, TRAINING.together))
    first = {frozenset(JOBS.index(cell.job) for cell in cells) for cells in found[:3]}
    assert first == {frozenset({0, 1}), frozenset({2}), frozenset({3})}
    assert {cell.round for cells in found[:3] for cell in cells} == {0} and len(found) == 6
    pair = next(cells for cells in found if len(cells) == 2)
    order = [one for one in Plan("training", JOBS, rounds=2).order(0) if one in JOBS[:2]]
    assert [cell.job for cell in pair] == order, "they start in the order of the round"


def test_a_single_round_and_an_accelerator_run_one_job_after_another() -> None:
    once = rounds.to_run(Plan("training", JOBS), {}, lambda records: True, TRAINING.together)
    assert [len(cells) for cells in once] == [1, 1, 1, 1]
    assert TRAINING.together(job("jax", device="cuda")) is None
    assert TRAINING.together(job("jax", pipeline="native")) is None, "it prepares input in others' windows"
    assert kind("time_to_accuracy").together(JOBS[0]) is None


def test_what_is_left_of_a_round_that_was_broken_off_is_run() -> None:
    wanted = Plan("training", JOBS[:2], rounds=2)
    done = {f"{JOBS[0].id}.r0": dataclasses.replace(finished(JOBS[0]), round=0)}
    left = list(rounds.to_run(wanted, done, lambda records: True, TRAINING.together))
    assert [cell.job for cell in left[0]] == [JOBS[1]] and len(left[1]) == 2
    assert not rounds.complete(wanted, done, 0)
    whole = done | {f"{JOBS[1].id}.r0": dataclasses.replace(finished(JOBS[1]), round=0)}
    assert rounds.complete(wanted, whole, 0) and not rounds.complete(wanted, whole, 1)
