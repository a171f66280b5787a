"""Explain a gap: run the slower framework again with one setting at a time moved to the faster one's value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlcompare.core.data.stream import NEUTRAL
from dlcompare.core.judging.attribution import Explanation, Kept, Move, attribute
from dlcompare.core.judging.kernels import Breakdown, Kernels, kernels
from dlcompare.core.judging.verdict import Comparison, Side, compare
from dlcompare.core.kinds.kind import Answer, kind
from dlcompare.core.plan.feasibility import refusal
from dlcompare.core.plan.plan import LEAST_ROUNDS, Plan
from dlcompare.core.plan.variants import Variant, parse
from dlcompare.core.plugins.job import LAYOUTS, Job
from dlcompare.core.plugins.registry import Plugins, plugins
from dlcompare.core.records.record import Record
from dlcompare.core.settings import having

from .result import TrainingRecord

SYNTHETIC = "synthetic"
OPS = "ops"  # the kind that times layers alone
QUICK: dict[str, Any] = {"kind": OPS, "workers": 1, "windows": 2, "window_seconds": 0.05, "passes": ["step"],
                         "steps": None, "save": False, "weights": None, "data": SYNTHETIC, "skip": [], "loaders": 1,
                         "pipeline": NEUTRAL}


@dataclass(frozen=True)
class Study:
    """What is run to explain a gap: the plan, what each of its sides is for, and what cannot be moved."""

    slow: str
    fast: str
    plan: Plan
    moves: tuple[Move, ...]
    kept: tuple[Kept, ...]


def explain(plan: Plan, records: Sequence[TrainingRecord], carry_out: Callable[[Plan], list[Any]]) -> Answer:
    """Run what explains the largest gap of a plan's records; return these with the explanation, or why there is none,
    and the records it rests on."""
    found = gap(compare(records, plan.judging))
    if isinstance(found, str):
        return Answer(records, found)
    slow, fast = found
    wanted = study(plugins(), plan, slow, fast)
    more = carry_out(wanted.plan)
    said = attribute(wanted.slow, wanted.fast, wanted.moves, wanted.kept, more)
    if isinstance(said, Explanation):
        said = dataclasses.replace(said, kernels=by_layers(plan, slow, fast, carry_out))
    return Answer(records, said, more)


def by_layers(plan: Plan, slow: Side, fast: Side, carry_out: Callable[[Plan], list[Any]]) -> Kernels | str:
    """Time the layers of both sides alone, with settings as they were; return what they make of the gap."""
    of = kind(OPS)
    own = {spec.name for spec in dataclasses.fields(of.job) if spec.init} - {"ops"}
    jobs = [of.job.from_plain({**{name: value for name, value in side.ran[0].job.items() if name in own}, **QUICK})
            for side in (slow, fast)]
    if jobs[0] == jobs[1]:
        return f"the layers of {slow.name} and {fast.name} alone are the same work: what differs is around them"
    variants = {job.id: text for side, job in zip((slow, fast), jobs, strict=True) if (text := parse(side.name).text)}
    found = carry_out(Plan(OPS, tuple(jobs), variants=variants, rounds=LEAST_ROUNDS, seed=plan.seed))
    failed = [f"{one.name} {one.status}: {one.reason}" for one in found if one.status != "ok"]
    if failed:
        return f"layers could not be timed alone: {failed[0]}"
    rounds: list[dict[int, Breakdown]] = [
        {one.round: made for one in found if one.name == side.name and (made := one.breakdown())}
        for side in (slow, fast)]
    return kernels(slow.name, fast.name, *rounds, run=found[0].run)


def gap(comparisons: Sequence[Comparison]) -> tuple[Side, Side] | str:
    """Return the slowest and the fastest side, or in a sentence why there is no gap to explain."""
    ran = [side for one in comparisons for side in one.sides if side.throughput is not None]
    ranked = sorted(ran, key=lambda side: side.throughput or 0.0)
    if len(ranked) < 2:
        return "fewer than two frameworks have numbers, so there is no gap to explain"
    pair = [record for side in (ranked[0], ranked[-1]) for record in side.records]
    words = {verdict.word for verdict in compare(pair)[0].verdicts}
    if words & {"same", "undecided"}:
        told = "as fast as one another" if "same" in words else "not told apart; more rounds may do that"
        return f"there is no gap to explain: {ranked[0].name} and {ranked[-1].name} are {told}"
    return ranked[0], ranked[-1]


def study(plugins: Plugins, plan: Plan, slow: Side, fast: Side) -> Study:
    """Return what to run: both sides, and the slower one with each setting moved."""
    one, two = slow.ran[0], fast.ran[0]
    jobs = {slow.name: job_of(one), fast.name: job_of(two)}
    moves, kept = [], []
    for setting in having(Job, "gap"):
        found = move(plugins, setting, one, two)
        if isinstance(found, Kept):
            kept.append(found)
        else:
            moves.append(dataclasses.replace(found[0], moved=add_job(jobs, found[0].moved, found[1])))
    if jobs[slow.name].data.startswith(SYNTHETIC):
        kept.append(Kept("input path", "both feed one batch that is placed once"))
    else:
        moves.append(without_input(one, two, jobs))
    graph = plugins.model(one.model).graph(one.job["image_size"], one.job.get("classes"))
    refusals = {job.id: reason for job in jobs.values() if (reason := refusal(plugins, job, graph))}
    variants = {job.id: text for name, job in jobs.items() if (text := parse(name).text)}
    whole = dataclasses.replace(plan, jobs=tuple(jobs.values()), refusals=refusals, variants=variants,
                                rounds=max(LEAST_ROUNDS, len(slow.ran), plan.rounds), until=None, asked={})
    return Study(slow.name, fast.name, whole, tuple(moves), tuple(kept))


def move(plugins: Plugins, setting: str, slow: Record, fast: Record) -> tuple[Move, Job] | Kept:
    """Return a setting moved to the faster side's value and the job with it, or why that cannot be."""
    before, after = value(slow, setting), value(fast, setting)
    if setting == "layout" and not {before, after} <= set(LAYOUTS):
        return Kept(setting, f"{before or 'none'} here, {after or 'none'} there: no choice of {' or '.join(LAYOUTS)}")
    if before == after:
        return Kept(setting, f"{before} on both sides")
    changed: dict[str, Any] = {setting: after}
    job = dataclasses.replace(job_of(slow), **changed)
    reason = plugins.backend(slow.framework).refuse(job)
    if reason:
        return Kept(setting, f"{before} cannot become {after}: {reason}")
    return Move(setting, str(before), str(after), name_with(slow, setting, after)), job


def without_input(slow: Record, fast: Record, jobs: dict[str, Job]) -> Move:
    """Return the move that takes reading and copying of samples out of both sides, and add its two jobs."""
    names = [name_with(record, "data", SYNTHETIC) for record in (slow, fast)]
    names = [add_job(jobs, name, dataclasses.replace(job_of(record), data=SYNTHETIC))
             for record, name in zip((slow, fast), names, strict=True)]
    return Move("input path", str(slow.job["data"]), f"{SYNTHETIC}, on both sides", *names)


def add_job(jobs: dict[str, Job], name: str, job: Job) -> str:
    """Add a job to those that are run, unless it is one of them already; return its name there."""
    known = next((other for other, one in jobs.items() if one == job), name)
    jobs[known] = job
    return known


def value(record: Record, setting: str) -> object:
    """Return what a setting was; where a job left it to the framework, what that says it chose."""
    return record.settings.layout if setting == "layout" else record.job.get(setting)


def name_with(record: Record, setting: str, wanted: object) -> str:
    """Return the name of a record's side with one setting changed."""
    side = parse(record.name)
    return Variant(side.framework, {**side.settings, setting: wanted}).name


def job_of(record: Record) -> Job:
    """Return the job that a record is of."""
    return Job.from_plain(record.job)
