"""What a job leaves behind: the raw result of each rank, and the record they are folded into.

Records hold raw values with units and where they come from; ``fold.finished`` makes the record of a job that ran.
The JSON Schema of a record is ``record.schema.json`` beside this file.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from dlcompare.core.errors import UsageError, unknown
from dlcompare.core.files import finite
from dlcompare.core.plugins.job import Job

SCHEMA = 1
Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class RankResult:
    """What one rank measured, raw; a worker writes it as ``rank-N.json``. All times are seconds.

    ``warmup`` holds {step, seconds} of the slowest rank; ``windows`` {steps, seconds (this rank's own), peers (every
    rank's seconds), loss (this rank's last), step (index of the last optimiser step), started (unix time),
    feed_seconds (the main loop's waiting for input), and of the rank that looked foreign_cores (what others used
    meanwhile, on average) and throttled (how often the clock was slowed)}; ``losses`` {step, loss} of this rank.
    """

    rank: int
    world: int
    pid: int
    samples_per_step: int
    warmup: list[Json]
    warmup_settled: bool
    windows: list[Json]
    losses: list[Json]
    params_sha256: str
    sample_order_sha256: str
    first_batch_sha256: str
    versions: dict[str, str]
    settings: Json
    peak_bytes: int | None
    rss_bytes: int
    startup: dict[str, float]
    target: Json | None = None  # see ``target.train_to_target``
    trained_sha256: str | None = None  # of the parameters kept as WEIGHTS, if they are

    def to_json(self) -> str:
        """Return JSON text; a number that is not finite becomes null."""
        return json.dumps(finite(dataclasses.asdict(self)), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> RankResult:
        """Read what :meth:`to_json` wrote; UsageError lists the known keys when there is one it does not know."""
        return _read(cls, json.loads(text), kind="rank result")


class Throughput(TypedDict):
    """Median over windows and the 95 % bootstrap interval of that median; no interval from a single window."""

    value: float
    unit: str
    low: float | None
    high: float | None


class StepTime(TypedDict):
    """Percentiles over ``n`` windows of the slowest rank's mean step time, each window weighted by its steps."""

    median: float
    p90: float
    p99: float
    unit: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One job's outcome. Whatever a refused or failed job could not know is None or empty.

    ``variant`` is what was otherwise for this side of the comparison than for the rest, "" if nothing was; ``round``
    counts from 0, None where jobs ran once; ``rounds`` is how many were planned, None where they went on until all was
    decided. ``windows`` are raw: {step, steps, samples, seconds (a list by rank), loss, started, feed_seconds,
    foreign_cores, throttled, discarded (why it is in no statistic, None if it is)}; ``warmup`` is
    {steps, seconds, settled, series}; ``loss`` a series of {step, loss}, the mean over the global batch; ``startup``
    seconds by phase, slowest rank; ``peak_bytes`` device and ``rss_bytes`` host memory, largest rank; ``discarded``
    says in plain sentences what was run but is in no statistic; ``disturbed``: too few windows were undisturbed, so
    the statistics are of all of them and no verdict may rest on them; ``target`` is how training to an accuracy went,
    as ``target.train_to_target`` returns it; ``trained_sha256`` is of the parameters that training ended with, if they
    were kept beside the record; ``flops_per_second`` is what throughput implies; ``verified`` is the certificate that
    speaks for the job, ``verified_before``, if there is none, one of the same job under other source of dlcompare.
    """

    schema: int = SCHEMA
    status: str  # ok | refused | failed
    reason: str | None = None
    id: str
    run: str
    variant: str = ""
    round: int | None = None
    rounds: int | None = None
    started: str  # ISO 8601, UTC
    duration_s: float | None = None
    framework: str
    model: str
    dataset: str
    image_size: int | None = None
    device: str
    precision: str
    workers: int
    batch_per_worker: int
    global_batch: int
    throughput: Throughput | None = None
    step_time: StepTime | None = None
    windows: list[Json] = field(default_factory=list)
    warmup: Json | None = None
    discarded: list[str] = field(default_factory=list)
    disturbed: bool = False
    loss: list[Json] = field(default_factory=list)
    target: Json | None = None
    parameters: int | None = None
    multiply_adds: int | None = None
    flops_per_second: float | None = None
    peak_bytes: int | None = None
    rss_bytes: int | None = None
    startup: dict[str, float] = field(default_factory=dict)
    params_sha256: str | None = None
    trained_sha256: str | None = None
    sample_order_sha256: str | None = None
    first_batch_sha256: str | None = None
    verified: Json | None = None
    verified_before: Json | None = None
    warnings: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    system: Json = field(default_factory=dict)
    log: str | None = None
    job: Json
    reproduce: str

    @property
    def name(self) -> str:
        """Return what tables call this side of the comparison."""
        return ":".join(part for part in (self.framework, self.variant) if part)

    def to_dict(self) -> Json:
        """Return what JSON can hold: lists and dicts, and None for every number that is not finite."""
        return finite(dataclasses.asdict(self))

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Return the record of an object that :meth:`to_dict` made.

        Raises:
            UsageError: another schema version, an unknown key (the known ones are listed), or a missing one.
        """
        if data.get("schema", SCHEMA) != SCHEMA:
            raise UsageError(f"the record has schema {data['schema']!r}, but this dlcompare reads schema {SCHEMA}; "
                             "read it with the version that wrote it")
        return _read(cls, data, kind="record")

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what :meth:`to_json` wrote; raises as :meth:`from_dict`."""
        return cls.from_dict(json.loads(text))


def parse(text: str) -> list[Record]:
    """Return the records of a JSON text: a list, a single one, or a comparison's. Raises UsageError."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"not a file of records: {error}; dlcompare writes one as records.json") from error
    if isinstance(data, dict) and isinstance(data.get("records"), list):
        data = data["records"]
    items = data if isinstance(data, list) else [data]
    for item in items:
        if not isinstance(item, dict):
            raise UsageError(f"not a file of records: it holds {str(item)[:40]!r} where a record (an object) must be")
    return [Record.from_dict(item) for item in items]


def schema() -> Json:
    """Return the JSON Schema (draft 2020-12) of a record."""
    return json.loads(Path(__file__).with_name("record.schema.json").read_text())


def refused(job: Job, reason: str, *, run: str = "", started: float | None = None,
            system: Json | None = None) -> Record:
    """Return the record of a job that cannot run here, for a reason that people can read."""
    return outline(job, status="refused", reason=reason, run=run, started=started, system=system or {})


def failed(job: Job, reason: str, *, log: str | None = None, run: str = "", started: float | None = None,
           duration: float | None = None, system: Json | None = None) -> Record:
    """Return the record of a job that was started and did not end well; ``log`` is the path of its log."""
    return outline(job, status="failed", reason=reason, run=run, started=started, system=system or {},
                   duration_s=duration, log=log)


def outline(job: Job, *, status: str, started: float | None, **known: Any) -> Record:
    """Return a record with what the job itself says, and whatever else is known; ``started`` is unix time or now."""
    begun = datetime.fromtimestamp(time.time() if started is None else started, tz=timezone.utc)
    said: Json = {"framework": job.framework, "model": job.model, "dataset": job.data, "device": job.device,
            "precision": job.precision, "workers": job.workers, "batch_per_worker": job.batch,
            "global_batch": job.batch * job.workers, "image_size": job.image_size}
    return Record(id=job.id, started=begun.isoformat(timespec="seconds"), status=status,
                  job=json.loads(job.to_json()), reproduce=reproduce(job), **(said | known))


# The command line chooses these by what the machine has, so another machine must be told them.
TOLD = ("framework", "model", "data", "device", "precision", "workers", "batch", "image_size", "steps", "windows",
        "seed", "lr", "threads")
UNTOLD = ("port", "task", "cases")


def reproduce(job: Job) -> str:
    """Return the shell line that runs this one cell again."""
    words = ["dlcompare"]
    for spec in dataclasses.fields(job):
        value = getattr(job, spec.name)
        if value is not None and spec.name not in UNTOLD and (spec.name in TOLD or value != spec.default):
            words += [f"--{spec.name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def _read(cls: type[T], data: Mapping[str, Any], *, kind: str) -> T:
    known = {spec.name: spec for spec in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise unknown(f"{kind} key", key, known)
    missing = dataclasses.MISSING
    lacking = [name for name, spec in known.items()
               if name not in data and spec.default is missing and spec.default_factory is missing]
    if lacking:
        raise UsageError(f"a {kind} must have {', '.join(lacking)}; this one does not")
    return cls(**data)
