"""What can go wrong in a way a user can mend.

    DlcompareError            shown as one paragraph, never as a traceback
    ├── UsageError            the command line or a file it names is wrong (exit code 2)
    ├── PluginError           a plugin is broken or two plugins clash
    ├── EnvironmentUnavailable a framework's environment cannot be had here
    └── JobError              a job cannot go on: NaN loss, corrupt sample, missing tensor
"""

import difflib
from collections.abc import Iterable


class DlcompareError(Exception):
    """Something a user can mend; the message says what is wrong, what is allowed, what to do."""


class UsageError(DlcompareError):
    """The command line, or a file it names, asks for something that does not exist or fit."""


class PluginError(DlcompareError):
    """A plugin cannot be loaded, or two plugins offer the same name."""


class EnvironmentUnavailable(DlcompareError):
    """A framework's environment cannot be had on this machine; the message says what to install."""


class JobError(DlcompareError):
    """A running job cannot go on; becomes the reason of a ``failed`` record."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that does not exist: what exists, and the nearest match."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {kind} {name!r}; there is: {', '.join(names) or 'none'}.{hint}")
