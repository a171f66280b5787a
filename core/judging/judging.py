"""How a comparison is to be judged, as a user may say it; apart from judging itself, which a start-up need not load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dlcompare.core.errors import unknown
from dlcompare.core.settings import setting

JUDGED = "How it is judged"


@dataclass(frozen=True)
class Judging:
    """How a comparison is judged: the name of the side that ratios are to, the first that ran if None; and how far
    apart two throughputs may surely be that are called the same."""

    baseline: str | None = setting(None, group=JUDGED, metavar="NAME",
                                   help="What ratios are to; default: the first that runs.")
    margin: float = setting(0.02, group=JUDGED, least=0, percent=True, metavar="PERCENT",
                            help="Throughputs that are surely no further apart are the same.")

    def check(self, names: Iterable[str]) -> None:
        """Raise UsageError if no side has the baseline's name."""
        known = list(names)
        if self.baseline is not None and self.baseline not in known:
            raise unknown("baseline", self.baseline, known)


AS_USUAL = Judging()
