"""Samples that cannot be read: found before a run, and then refused, or left out of every job of it alike."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dlcompare.core.errors import DlcompareError, UsageError
from dlcompare.core.graph import Input
from dlcompare.core.plugins.job import SKIP
from dlcompare.core.plugins.registry import Plugins

from .plan import Tell, silent

SECONDS = 3.0  # to look at samples where one that is overlooked fails its job by name
NAMED = 5  # samples named before the rest are only counted


def bad_samples(plugins: Plugins, data: str, inputs: Mapping[str, Input], *, policy: str,
                tell: Tell = silent) -> tuple[str, ...]:
    """Return the names of all samples that cannot be used, if the policy is to skip them; ``tell`` hears how many of
    them were looked at.

    Raises:
        UsageError: there are some, and the policy is not to skip them; then so many are looked at as a few seconds
            allow.
    """
    kind, argument = plugins.dataset(data)

    def looked(done: int, of: int) -> None:
        tell(None, {"phase": "samples", "part": done * 10 // max(1, of),
                    "text": f"looking for samples of {data} that cannot be read, {done:,} of {of:,}"})

    if kind.scan is not None:
        more = {"seconds": math.inf, "looked": looked} if policy == SKIP else {"seconds": SECONDS}
        bad = kind.scan(argument, inputs, **more)
    elif policy == SKIP:
        from dlcompare.core.data.checked import look  # late: it needs NumPy

        try:
            bad = look(kind, argument, inputs, looked=looked)
        except DlcompareError:
            raise
        except Exception as error:  # a stranger's: it may need what is in the workers' environments alone
            raise UsageError(f"{data} cannot be looked through here ({type(error).__name__}: {error}); leave "
                             "--on-bad-sample skip out, and a sample that cannot be used fails its job") from error
    else:  # what the parent would have to import to read a stranger's samples may be in the workers' environments alone
        bad = {}
    if bad and policy != SKIP:
        raise UsageError(f"{data}: {named(bad)}. Repair or remove what is damaged, or leave it out of every job with "
                         "--on-bad-sample skip")
    return tuple(sorted(bad))


def named(bad: Mapping[str, str]) -> str:
    """Return in words which samples cannot be read, and why."""
    first = "; ".join(f"{name} ({bad[name].rstrip('.')})" for name in sorted(bad)[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return f"{len(bad)} sample{'s' * (len(bad) != 1)} cannot be read: {first}{more}"
