"""A plan: the jobs that a request amounts to, how often and in which order they run, and which cannot."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dlcompare.core.judging.judging import AS_USUAL, Judging
from dlcompare.core.plugins.job import BaseJob
from dlcompare.core.settings import setting

SCHEMA = 2
MOST_ROUNDS = 100  # of those that go on until every ratio is decided
LEAST_ROUNDS = 3  # before a ratio may be called decided
GROUP = "How it is measured"

Tell = Callable[[BaseJob | None, dict[str, Any]], None]  # the job (None: before any) and an event with a "phase"


def silent(job: BaseJob | None, event: dict[str, Any]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Repetition:
    """How often all jobs run, interleaved; ``until_decided``: about how long rounds may go on, in seconds, or None."""

    rounds: int = setting(1, group=GROUP, least=1, metavar="N",
                          help="Run all jobs so often, interleaved, for a verdict; default 1, without one.")
    until_decided: float | None = setting(
        None, group=GROUP, above=0, metavar="SECONDS",
        help="Go on with rounds, for about so long, until every ratio is decided.")

    @property
    def least(self) -> int:
        """Return how many rounds there are at least."""
        return max(self.rounds, LEAST_ROUNDS) if self.until_decided else self.rounds


@dataclass(frozen=True)
class Plan:
    """Jobs in the order they were asked for, and for those that cannot run the reason, by job id.

    Every one of ``jobs`` runs in each of the ``rounds``; with ``until``, a number of seconds, they go on after that
    until every ratio is decided. Those of ``before`` and ``after`` run once. ``variants`` are the settings that a job
    was given apart from the others, as text, by job id. ``points`` are the values of what is swept, by job id.
    ``asked`` is whatever else decides what is run, as JSON.
    """

    kind: str
    jobs: tuple[BaseJob, ...]
    refusals: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 1
    until: float | None = None
    judging: Judging = AS_USUAL
    seed: int = 0
    before: tuple[BaseJob, ...] = ()
    after: tuple[BaseJob, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def repeated(self) -> bool:
        """Return whether jobs run more than once."""
        return self.rounds > 1 or self.until is not None

    @property
    def most_rounds(self) -> int:
        """Return how many rounds there are at most."""
        return max(MOST_ROUNDS, self.rounds) if self.until else self.rounds

    def name(self, job: BaseJob) -> str:
        """Return what tables call a job's side of the comparison."""
        return ":".join(part for part in (job.runtime, self.variants.get(job.id, "")) if part)

    def order(self, number: int) -> tuple[BaseJob, ...]:
        """Return the jobs in the order of a round, counted from 0; jobs that run once keep the order asked for.

        Shuffled anew for every second round, and the one after it runs backwards: a machine that slowly changes its
        speed then favours nobody.
        """
        jobs = list(self.jobs)
        if self.repeated:
            random.Random(f"{self.seed} {number // 2}").shuffle(jobs)
        return tuple(jobs[::-1] if number % 2 else jobs)

    def to_json(self) -> str:
        """Return the plan as JSON text; the same request on the same machine gives the same text."""
        plain = {"schema": SCHEMA, "kind": self.kind, "jobs": [job.to_plain() for job in self.jobs],
                 "before": [job.to_plain() for job in self.before], "after": [job.to_plain() for job in self.after],
                 "refusals": dict(self.refusals), "variants": dict(self.variants), "rounds": self.rounds,
                 "until": self.until, "judging": asdict(self.judging), "asked": dict(self.asked),
                 "points": {name: dict(point) for name, point in self.points.items()},
                 "order": [[job.id for job in self.order(number)] for number in range(self.most_rounds)]}
        return json.dumps(plain, indent=1, sort_keys=True)

    @property
    def digest(self) -> str:
        """Return a hash of jobs and rounds, so that ``--resume`` finds the run of the same request."""
        import hashlib  # late: OpenSSL takes a fiftieth of a start-up

        said = self.kind + "".join(job.to_json() for job in (*self.before, *self.jobs, *self.after))
        said += json.dumps(dict(self.asked), sort_keys=True)
        if self.repeated:
            said += f"{self.rounds} {self.until} {self.judging if self.until else ''}"
        return hashlib.sha256(said.encode()).hexdigest()
