"""Records of finished runs read again: run folders, ``records.json`` files, what ``--format json`` printed.

Nothing that a file says is believed where it can be found out: statistics are computed anew, certificates looked up.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core.conformance.claims import Certificates, examined
from dlcompare.core.errors import DlcompareError, UsageError
from dlcompare.core.json_file import parse_json, read_json
from dlcompare.core.kinds.kind import kind, kinds
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.recompute import ALTERED, UNREAD, recomputed
from dlcompare.core.records.record import Record
from dlcompare.core.variables import RECORDS

WHAT = "a file of records"
DAMAGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # by fields of any type


def read(path: Path) -> list[Record]:
    """Return the records of a run folder or of a file; UsageError if there are none, or what they are is none."""
    file = file_of(path)
    data = read_json(file, what=WHAT)
    with naming(str(file)):
        return records_of(data, file.parent)


def file_of(path: Path) -> Path:
    """Return the file that holds the records of a run folder, of an earlier version too; a file is itself."""
    names = [RECORDS, *(one.old_file for one in kinds().values() if one.old_file)]
    found = [file for file in ([path / name for name in names] if path.is_dir() else [path]) if file.exists()]
    if not found:
        raise UsageError(f"{path} holds no records.json; give a run folder, such as the newest below runs/")
    return found[0]


def parse(text: str | bytes, folder: Path = Path()) -> list[Record]:
    """Return the records of a JSON text; certificates are looked for in a folder too. Raises UsageError."""
    return records_of(parse_json(text, name="this", what=WHAT), folder)


def records_of(data: Any, folder: Path) -> list[Record]:
    """Return the records of JSON: a list, a single one, or a comparison's. Raises UsageError."""
    for one in kinds().values():
        if (old := one.stored(data)) is not None:
            return old
    if isinstance(data, dict) and isinstance(data.get("records"), list):
        data = data["records"]
    items, certificates = data if isinstance(data, list) else [data], Certificates(folder)
    if not items:
        raise UsageError(f"not {WHAT}: its list is empty, so nothing was measured or nothing was kept; run it again")
    return [with_log(record(item, certificates), folder) for item in items]


def with_log(one: Record, folder: Path) -> Record:
    """Return a record whose log is found from here, if it still lies in the run's folder."""
    there = one.log and not Path(one.log).is_absolute() and (folder / one.log).exists()
    return dataclasses.replace(one, log=str((folder / str(one.log)).resolve())) if there else one


def record(data: Any, certificates: Certificates) -> Record:
    """Return one record of whatever kind it says it is; in schema 1 all were of training, some with a target."""
    if not isinstance(data, dict):
        raise UsageError(f"not {WHAT}: it holds {str(data)[:40]!r} where a record (an object) must be")
    said = data.get("kind") or ("time_to_accuracy" if data.get("target") else "training")
    found: Record = kind(str(said)).record.from_dict(data)
    return examined(recomputed(of_its_job(found)), certificates)


def of_its_job(one: Record) -> Record:
    """Return a record with a caveat for each field that its own job contradicts, or that its job says nothing.

    What jobs of its time could not say is as it is today when nobody says it, so that it differs from nothing.
    """
    bare = dataclasses.replace(one, warnings=tuple(said for said in one.warnings if said.kind != UNREAD))
    try:
        job = job_of(bare)
        said, bare = job.identity(), dataclasses.replace(bare, job={**job.to_plain(), **bare.job})
    except DlcompareError as error:
        return dataclasses.replace(bare, warnings=(Caveat.of(UNREAD, reason=str(error)), *bare.warnings))
    found = {name: value for name, value in said.items() if value is not None and getattr(one, name) != value}
    return dataclasses.replace(bare, **found, warnings=(*(
        Caveat.of(ALTERED, field=name, written=getattr(one, name), recomputed=value)
        for name, value in found.items()), *bare.warnings))


def job_of(one: Record) -> BaseJob:
    """Return the job of a record, without what it says besides in another version. Raises UsageError if it is none."""
    cls = kind(one.kind).job
    known = {"kind", *(spec.name for spec in dataclasses.fields(cls))}
    return cls.from_plain({name: value for name, value in one.job.items() if name in known})


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Make one error of whatever records raise that are no records, or hold what no version has written."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except DAMAGED as error:
        raise UsageError(f"{where} holds a record with fields that no version has written ({type(error).__name__}: "
                         f"{str(error)[:80]}); read it with the version that made it, or take that record out"
                         ) from error


def by_kind(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return records by the name of their kind, in order."""
    found: dict[str, list[Record]] = {}
    for one in records:
        found.setdefault(one.kind, []).append(one)
    return found
