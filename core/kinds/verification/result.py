"""What a backend showed on the cases of a verification, how that was judged, and the record of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcompare.core.conformance.check import Check
from dlcompare.core.records.record import Record


@dataclass(frozen=True)
class RankResult:
    """What one rank leaves beside its ``case-N.safetensors``, which rank 0 alone writes.

    ``failures`` are the cases that raised something in it, each with what. Versions and settings are those of the last
    case that was observed.
    """

    rank: int
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VerificationRecord(Record):
    """The outcome for one job: its checks, the first layer that differs, and the path of the certificate.

    ``diagnosis`` says in one line what a failure most likely comes from; ``failures`` are the cases that raised
    something, each with what. Where cases were chosen, or not all run, there is no certificate.
    """

    kind: str = "verification"
    checks: tuple[Check, ...] = ()
    first_divergence: str | None = None
    diagnosis: str | None = None
    failures: dict[str, str] = field(default_factory=dict)
    certificate: str | None = None

    @property
    def passed(self) -> bool:
        """Return whether everything that was compared agrees."""
        return self.status == "ok" and bool(self.checks) and all(check.passed for check in self.checks)


def by_case(checks: Sequence[Check]) -> dict[str, list[Check]]:
    """Return the checks grouped by case, in order."""
    found: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        found[check.case].append(check)
    return dict(found)


def case_file(number: int) -> str:
    """Return the name of the file in which rank 0 leaves what it saw of a case."""
    return f"case-{number}.safetensors"


RANK, RECORD = RankResult, VerificationRecord
