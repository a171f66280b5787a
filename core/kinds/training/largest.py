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
STEPS = 2  # of a short job, warm-up included: the second allocates what the first left, as momentum does
MOST_TRIES = 16
MOST_SECONDS = 900.0  # after which no further batch is tried
FINENESS = 16  # the search ends when the next batch to try is less than 1 / 16 larger than one that fits
MOST = 1 << 16

Attempt = Callable[[int], "str | None"]  # runs a batch; returns why memory did not suffice, None if it did


def search(attempt: Attempt, *, start: int, most: int, least: int = 1,
           clock: Callable[[], float] = time.monotonic) -> list[Trial]:
    """Return what was tried until the largest batch that fits was found, or tries or time were used up.

    From ``start`` the batch is doubled while it fits, or halved until it does, and what lies between the largest that
    fits and the smallest that does not is bisected; ``most`` is the largest that there is data for.
    """
    tried: list[Trial] = []
    begun, fits, fails = clock(), 0, most + 1
    batch = max(least, min(start, most))
    while len(tried) < MOST_TRIES and clock() - begun < MOST_SECONDS:
        before = clock()
        reason = attempt(batch)
        tried.append(Trial(batch, reason is None, clock() - before, reason))
        fits, fails = (max(fits, batch), fails) if reason is None else (fits, min(fails, batch))
        if fails - max(fits, least - 1) <= max(1, fits // FINENESS):
            break
        if not fits:
            batch = max(least, fails // 2)
        else:
            batch = min(2 * fits, most) if fails > most else (fits + fails) // 2
    return tried


def best(tried: Sequence[Trial]) -> int | None:
    """Return the largest batch that fits among those that were tried; None if none does."""
    return max((one.batch for one in tried if one.fits), default=None)


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
    short = dataclasses.replace(job, batch=batch, largest=False, windows=1, steps=1, warmup_steps=STEPS - 1, save=False)
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
