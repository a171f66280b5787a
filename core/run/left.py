"""What the processes of a job have left in its folder, and what was known when they were started."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.files import write
from dlcompare.core.kinds.kind import Kind, Started
from dlcompare.core.launch import failure
from dlcompare.core.machine.memory import perhaps_for_want_of_memory
from dlcompare.core.plan.plan import Tell
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.circumstances import Circumstances
from dlcompare.core.records.homeless import homeless
from dlcompare.core.records.record import NOT_KEPT, Record
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.core.variables import BEGUN, LOG, RECORD, rank_file

from .metered import with_meters


def is_complete(kind: Kind, job: BaseJob, folder: Path) -> bool:
    """Return whether each process that should leave a result has: then all is measured, however the job ended."""
    return len(list(folder.glob(rank_file("*")))) >= kind.results(job)


def results(kind: Kind, folder: Path) -> list[Any]:
    """Return the raw results in a folder by rank; UsageError or ValueError if one is none."""
    files = sorted(folder.glob(rank_file("*")), key=lambda file: int(file.stem.partition("-")[2]))
    return [from_plain(kind.rank, json.loads(file.read_text()), what="rank result") for file in files]


def note(about: Circumstances, folder: Path) -> None:
    """Write down what is known of a job that is about to start; JobError if that cannot be done."""
    write(folder / BEGUN, json.dumps(to_plain(about)))


def noted(folder: Path) -> Circumstances:
    """Return what was known of a job when it began, with its duration up to its last sign of life.

    Raises:
        UsageError, ValueError, OSError: nothing was written down, or it is damaged.
    """
    about = from_plain(Circumstances, json.loads((folder / BEGUN).read_text()), what="beginning of a job")
    last = max((event["time"] for event in failure.read_events(folder) if "time" in event), default=about.started)
    return dataclasses.replace(about, duration=max(0.0, (last or 0.0) - (about.started or 0.0)),
                               log=str(folder / LOG))  # where it lies now


def launch_seconds(folder: Path, about: Circumstances) -> float | None:
    """Return the seconds from the start of the launcher to that of the last worker, if its events tell."""
    begun = [event["time"] for event in failure.read_events(folder) if event["phase"] == "start" and "time" in event]
    return max(0.0, max(begun) - (about.started or 0.0)) if begun else None


def record(kind: Kind, job: BaseJob, folder: Path, about: Circumstances, tell: Tell,
           **more: Any) -> Record:
    """Return the record that the results of a job's processes are folded into; a failed one if they cannot be.

    A plug-in may leave what is no result, and one of its kind of measurement may raise anything; other jobs go on.
    """
    try:
        return fold(kind, job, folder, about, tell, **more)
    except (OSError, JobError):
        raise
    except (UsageError, ValueError) as error:
        reason = f"what its processes left is no result: {error}"
    except Exception as error:
        with contextlib.suppress(OSError), (folder / LOG).open("a") as log:
            traceback.print_exc(file=log)
        reason = (f"what its processes left cannot be made a record of: {type(error).__name__}: {error}; the log's "
                  "end tells where that was raised")
    failed: Record = kind.outline(job, about, status="failed", reason=reason)
    return failed


def fold(kind: Kind, job: BaseJob, folder: Path, about: Circumstances, tell: Tell, *, cool_down: float = 0.0,
         others: Sequence[Record] = ()) -> Record:
    """Return that record, with what meters read; UsageError or ValueError if the results are none or do not belong
    together. ``others`` are those of the run so far, before which all rested as long.
    """
    ranks, processes = results(kind, folder), kind.results(job)
    if len(ranks) < processes:
        reason = failure.explain_silence(folder, found=len(ranks), wanted=processes)
        silent: Record = kind.outline(job, about, status="failed", reason=reason)
        return silent
    known = {spec.name: getattr(about, spec.name) for spec in dataclasses.fields(about)}
    started = Started(**{**known, "launch": launch_seconds(folder, about)}, folder=folder, tell=tell)
    found: Record = kind.part("folding").fold(kind, job, ranks, started)
    return dataclasses.replace(with_meters(found, ranks, folder, others), cool_down=cool_down or None)


def lacked_memory(record: Record | None) -> bool:
    """Return whether a job has failed that may do where more memory is free."""
    return record is not None and record.status == "failed" and perhaps_for_want_of_memory(record.reason or "")


def write_record(result: Record, folder: Path) -> Record:
    """Write a record down and return it, less the user's home folder, with a caveat if it cannot be written."""
    result = homeless(result)
    try:
        write(folder / RECORD, result.to_json())
    except JobError as error:
        return with_caveat(result, Caveat.of(NOT_KEPT, error=str(error)))
    return result


def with_caveat(record: Record, caveat: Caveat) -> Record:
    """Return a record with one more warning."""
    return dataclasses.replace(record, warnings=(*record.warnings, caveat))
