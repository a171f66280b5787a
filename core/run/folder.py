"""The folder of a run: made, found again, held against others; records written into it as they come."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from dlcompare.core.conformance.claims import Certificates
from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.files import read_cached, remedy, warn, write
from dlcompare.core.json_file import parse_json
from dlcompare.core.kinds.kind import Kind, Options
from dlcompare.core.plan.plan import Plan
from dlcompare.core.plan.rounds import Cell, everything
from dlcompare.core.plan.sweep import out_of_memory
from dlcompare.core.records.record import Record
from dlcompare.core.variables import PLAN, RECORD, RECORDS

from . import stored


def run_folder(plan: Plan, options: Options) -> Path:
    """Return a new folder with the plan in it, or for ``--resume`` the newest one of the same plan."""
    if options.resume and (found := resumable(plan, options.out)):
        return found
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    folder = options.out / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
        write(folder / PLAN, json.dumps({**json.loads(plan.to_json()), "digest": plan.digest}, indent=1))
    except (OSError, JobError) as error:
        cause = error.__cause__ or error
        with contextlib.suppress(OSError):
            folder.rmdir()
        todo = f"{remedy(cause)}, or " if isinstance(cause, OSError) else ""
        raise UsageError(f"cannot write to {options.out}: {getattr(cause, 'strerror', cause)}; {todo}name another "
                         "folder with --out") from error
    return folder.resolve()  # workers run in folders of their own


def resumable(plan: Plan, out: Path) -> Path | None:
    """Return the newest run of the same plan; say so where there is none, and which plans could not be read."""
    for file in sorted(out.glob(f"*/{PLAN}"), reverse=True):
        if read_cached(file, digest_of, instead="that run is passed over") == plan.digest:
            return file.parent.resolve()
    warn(f"--resume finds no run of this very command below {out}: a new one begins")
    return None


def digest_of(text: bytes) -> str:
    """Return the digest in the text of a plan; KeyError or TypeError if it is none."""
    return str(json.loads(text)["digest"])


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run folder against a second ``--resume``; UsageError if another process is at work in it."""
    with (folder / PLAN).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder} cannot be resumed: another process is at work in it; wait until it has ended, "
                             "or leave --resume out to start anew") from None
        except OSError:
            pass  # a file system without locks
        yield


def read_finished(plan: Plan, kind: Kind, run: Path,
                  recovered: Callable[[Cell, Path], Record | None]) -> dict[str, Record]:
    """Return by cell folder the records of jobs that have ended well; move what the others left out of the way.

    What ran out of memory in a sweep counts too: it says how large a batch may be.
    ``recovered`` makes a record of what a job left whose record was not kept, None if that is not enough.
    """
    found: dict[str, Record] = {}
    for cell in everything(plan):
        folder = run / cell.folder
        if not folder.exists():
            continue
        record = read_record(kind, folder)
        if record is None or record.status != "ok":  # what ranks left may be whole though it could not be folded
            record = recovered(cell, folder) or (record if plan.points else None)
        if record is not None and (record.status == "ok" or (plan.points and out_of_memory(record))):
            found[cell.folder] = record
        else:
            set_aside(folder)
    return found


def read_record(kind: Kind, folder: Path) -> Record | None:
    """Return the record in a folder, believed as ``stored`` says; None if there is none of the job it is named after.
    """
    def parse(text: bytes) -> Record:
        data = parse_json(text, name="it", what="a record")
        record = stored.with_log(stored.record(data, Certificates(folder.parent)), folder.parent)
        if (record.kind, record.id) != (kind.name, folder.name):
            raise UsageError(f"it is of another job, {record.id}")
        return record

    return read_cached(folder / RECORD, parse, instead="it does not count")


def set_aside(folder: Path) -> None:
    """Give what a job left that did not end well another name, so that its cell can run again in a clean folder."""
    folder.rename(folder.with_name(f"{folder.name}.{secrets.token_hex(3)}"))


def write_records(folder: Path, records: Sequence[Record]) -> None:
    """Write records in one file, in order; JobError where that cannot be done, and the file stays as it was."""
    write(folder / RECORDS, f"[{','.join(record.to_json() for record in records)}]\n")  # one by one: they may be many


def in_order(plan: Plan, records: Mapping[str, Record]) -> list[Record]:
    """Return the records there are, by round, in plan order within one; last those that concluded the run."""
    planned = [cell.folder for cell in everything(plan)]
    return [records[name] for name in [*planned, *(name for name in records if name not in set(planned))]
            if name in records]


