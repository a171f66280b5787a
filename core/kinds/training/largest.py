"""``--batch max``: the largest batch that fits, found by real short jobs, doubling first and bisecting then.

As the papers chose theirs: the largest that memory allows. Frameworks differ in what they need, so they may differ in
what is found; what was tried is in the job that is then run, and so in its record.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence

from dlcompare.core.errors import DlcompareError, JobError
from dlcompare.core.files import read_cached, write
from dlcompare.core.json_file import parse_json
from dlcompare.core.kinds.kind import Run
from dlcompare.core.machine.memory import perhaps_for_want_of_memory
from dlcompare.core.plan.feasibility import check_batch_norm, too_large
from dlcompare.core.plugins.job import BaseJob, Job, Trial
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import from_plain, to_plain

FOLDER = "largest"
WARM_UP, STEPS = 3, 2  # of a short job: later steps allocate what the first left, as momentum and batches read ahead do
TWICE = 2  # a batch must fit so often, each time in a fresh process: near the edge the same job may fit or not
MOST_TRIES = 20
MOST_SECONDS = 900.0  # after which no further batch is tried
FINENESS = 16  # the search ends when the next batch to try is less than 1 / 16 larger than one that fits
MOST = 1 << 16

Attempt = Callable[[int], "str | None"]  # runs a batch; returns why memory did not suffice, None if it did


def search(attempt: Attempt, *, start: int, most: int, least: int = 1,
           clock: Callable[[], float] = time.monotonic) -> list[Trial]:
    """Return what was tried until the largest batch that fits was found, or tries or time were used up.

    From ``start`` the batch is doubled while it fits, or halved until it does, and what lies between the largest that
    fits and the smallest that does not is bisected; ``most`` is the largest that there is data for. The one that is
    found is tried again, and passed over if it does not fit then.
    """
    tried: list[Trial] = []
    begun = clock()
    while (batch := following(tried, start=start, most=most, least=least)) is not None:
        before = clock()
        reason = attempt(batch)
        tried.append(Trial(batch, reason is None, clock() - before, reason))
        if len(tried) >= MOST_TRIES or clock() - begun >= MOST_SECONDS:
            break
    return tried


def following(tried: Sequence[Trial], *, start: int, most: int, least: int) -> int | None:
    """Return the batch to try next; None when the search is at its end."""
    if not tried:
        return max(least, min(start, most))
    fits = best(tried) or 0
    fails = min((one.batch for one in tried if not one.fits), default=most + 1)
    if fails - max(fits, least - 1) <= max(1, fits // FINENESS):
        return fits if fits and [one.batch for one in tried].count(fits) < TWICE else None
    if not fits:
        return max(least, fails // 2)
    return min(2 * fits, most) if fails > most else (fits + fails) // 2


def best(tried: Sequence[Trial]) -> int | None:
    """Return the largest batch among those that were tried that fitted whenever it was; None if none did."""
    failed = {one.batch for one in tried if not one.fits}
    return max((one.batch for one in tried if one.batch not in failed), default=None)


def with_largest(run: Run, job: BaseJob) -> BaseJob:
    """Return the job that is run for one that asks for the largest batch: with the one that a run found before, or now.

    Raises:
        JobError: not even the smallest fits, or a short job failed for another reason.
    """
    if not isinstance(job, Job) or not job.largest:
        return job
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"{job.id}.json"
    tried = read_cached(file, as_trials, instead="the batch is searched for again")
    if tried is None:
        tried = search(lambda batch: attempt(run, job, batch), start=job.batch, least=least(job), most=most(job))
        write(file, json.dumps([to_plain(one) for one in tried]))
    found = best(tried)
    if found is None:
        raise JobError(f"no batch fits, not even {min(one.batch for one in tried)}: {tried[-1].reason}")
    return dataclasses.replace(job, batch=found, largest=False, tried=tuple(tried))


def as_trials(text: bytes) -> list[Trial]:
    """Return trials as they were kept."""
    return [from_plain(Trial, one, what="trial") for one in parse_json(text, name="it", what="trials")]


def attempt(run: Run, job: Job, batch: int) -> str | None:
    """Run a short job with this batch; return why memory did not suffice, None if it did.

    Raises:
        JobError: it failed for another reason, of which a smaller batch is no cure.
    """
    short = dataclasses.replace(job, batch=batch, largest=False, windows=1, steps=STEPS, warmup_steps=WARM_UP,
                                save=False)
    graph = plugins().model(job.model).graph(job.image_size, job.classes)
    if job.device == "cpu" and (reason := too_large(short, graph)):
        return reason
    reason = run.start(short, run.folder / FOLDER / f"{job.id}-{batch}", label=f"{job.framework} {job.model}, trying "
                       f"batch {batch}")
    if reason is None or perhaps_for_want_of_memory(reason):
        return reason
    raise JobError(f"the search for the largest batch ended at {batch}, which failed for another reason: {reason}")


def least(job: Job) -> int:
    """Return the smallest batch that the network can be trained with."""
    try:
        check_batch_norm(plugins().model(job.model).graph(job.image_size, job.classes), 1)
    except DlcompareError:
        return 2
    return 1


def most(job: Job) -> int:
    """Return the largest batch that the data have samples for, or that is ever tried."""
    kind, argument = plugins().dataset(job.data)
    samples = kind.size(argument, without=job.skip) if kind.size is not None else MOST * job.workers
    return min(MOST, samples // job.workers)
