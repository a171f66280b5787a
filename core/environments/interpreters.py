"""Finding a Python in a range of versions, and trying out what one can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.machine.inherited import for_python
from dlcompare.core.plugins.runtime import EnvironmentSpec

Minor = tuple[int, int]

PROBE = (
    "import sys, importlib.util as u; "
    "print(*sys.version_info[:3], int(bool(u.find_spec('venv') and u.find_spec('ensurepip'))))"
)


def minors(spec: EnvironmentSpec) -> list[Minor]:
    """Return the Python versions that will do: the running one first, then from the newest to the oldest."""
    (major, low), (_, high) = spec.python
    newest_first = [(major, minor) for minor in range(high, low - 1, -1)]
    return sorted(newest_first, key=lambda minor: minor != sys.version_info[:2])


def find_python(spec: EnvironmentSpec) -> tuple[str, Minor]:
    """Return an interpreter in the range that can make environments; EnvironmentUnavailable says what to install."""
    unable = ""
    for minor in minors(spec):
        for python in _candidates(minor):
            version, able = probe(python) or ((), False)
            if version[:2] != minor:
                continue
            if able:
                return python, minor
            unable = f"{python} cannot make virtual environments: apt-get install python{minor[0]}.{minor[1]}-venv"
    low, high = (".".join(map(str, version)) for version in spec.python)
    span = low if low == high else f"{low} to {high}"
    raise EnvironmentUnavailable(
        unable or f"no Python {span} was found; install one so that python{high} is on PATH and runs"
    )


def _candidates(minor: Minor) -> Iterator[str]:
    """Yield every file that may be this Python: a pyenv shim may come first on PATH and yet not run."""
    if sys.executable and minor == sys.version_info[:2]:
        yield sys.executable
    for folder in os.get_exec_path():
        if found := shutil.which(f"python{minor[0]}.{minor[1]}", path=folder):
            yield found


def probe(python: str | Path) -> tuple[tuple[int, ...], bool] | None:
    """Return an interpreter's version and whether it can make environments; None if it does not run."""
    try:
        done = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, text=True, timeout=60)
        *version, able = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return tuple(version), bool(able)


def check(python: str | Path, statement: str) -> tuple[bool, str]:
    """Run a statement in an interpreter; return whether it worked, and the last line of what it printed."""
    argv = [str(python), "-c", statement]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, env=for_python(), cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"
