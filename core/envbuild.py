"""Making one environment: a Python in the right range, a venv, a lock file's packages, wheels compiled from source.

Every command's output goes to a log that error messages cite; no command outlives the process that started it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .backend import Build, EnvironmentSpec
from .errors import EnvironmentUnavailable, PluginError

Say = Callable[[str], None]
Minor = tuple[int, int]

# Runs a command in a process group of its own and kills that group when the other end of stdin closes: that happens
# even when the parent dies by SIGKILL, so that no orphaned compiler goes on.
GUARD = """
import os, signal, subprocess, sys, threading
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
os._exit(abs(subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)))
"""
PROBE = (
    "import sys, importlib.util as u; "
    "print(*sys.version_info[:3], int(bool(u.find_spec('venv') and u.find_spec('ensurepip'))))"
)
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?===?[^\s;*]+(\s*;.+)?")
# They would send packages past the environment, or another interpreter's packages into it.
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")


def requirements(lock: Path) -> list[str]:
    """Return a lock file's requirements without its comments; PluginError names a line that pins nothing."""
    try:
        lines = [line.partition("#")[0].strip() for line in lock.read_text().splitlines()]
    except OSError as error:
        raise PluginError(f"the lock file {lock} cannot be read: {error.strerror}") from error
    for line in filter(None, lines):
        if not PINNED.fullmatch(line):
            raise PluginError(f"{lock} pins no version in the line {line!r}; every line must be NAME==VERSION")
    return [line for line in lines if line]


def digest(*parts: object) -> str:
    """Return a short name for what the parts say: equal parts, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def minors(spec: EnvironmentSpec) -> list[Minor]:
    """Return the Python versions that will do: the running one first, then from the newest to the oldest."""
    (major, low), (_, high) = spec.python
    newest_first = [(major, minor) for minor in range(high, low - 1, -1)]
    return sorted(newest_first, key=lambda minor: minor != sys.version_info[:2])


def probe(python: str | Path) -> tuple[tuple[int, ...], bool] | None:
    """Return an interpreter's version and whether it can make environments; None if it does not run."""
    try:
        done = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, text=True, timeout=60)
        *version, able = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return tuple(version), bool(able)


def _candidates(minor: Minor) -> Iterator[str]:
    """Yield every file that may be this Python: a pyenv shim may come first on PATH and yet not run."""
    if sys.executable and minor == sys.version_info[:2]:
        yield sys.executable
    for folder in os.get_exec_path():
        if found := shutil.which(f"python{minor[0]}.{minor[1]}", path=folder):
            yield found


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
        unable or f"no Python {span} was found on PATH; install one and see that its name, python{high}, is on PATH"
    )


def need_tools(spec: EnvironmentSpec, wheels: Path, minor: Minor) -> None:
    """Raise EnvironmentUnavailable if something has yet to be compiled and a tool for it is missing."""
    for build in spec.builds:
        missing = [tool for tool in build.tools if not shutil.which(tool)]
        if missing and not _wheels(wheels / wheel_key(build, spec, minor)):
            names = " and ".join(missing)
            raise EnvironmentUnavailable(
                f"{build.requirement} must be compiled, and {names} cannot be found on PATH; "
                f"install what is missing: apt-get install {' '.join(missing)}"
            )


def wheel_key(build: Build, spec: EnvironmentSpec, minor: Minor) -> str:
    """Return the folder name for a compiled wheel: it fits only the packages and the Python it was compiled against."""
    inputs = (dict(build.variables), requirements(spec.lock), minor, platform.machine())
    return f"{re.split('[=<>!~ ]', build.requirement)[0]}-{digest(build.requirement, *inputs)}"


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


@dataclass
class Maker:
    """An environment in the making."""

    folder: Path
    log: Path
    say: Say
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def venv(self, python: str) -> None:
        self.run(python, "-I", "-m", "venv", str(self.folder))

    def install(self, *what: str) -> None:
        """Install with the environment's own pip under the user's pip configuration.

        Nothing is byte-compiled beforehand: that doubles the time, and the first import compiles what is used.
        """
        self.pip("install", "--no-compile", *what)

    def compile(self, build: Build, cache: Path) -> None:
        """Install a requirement from the wheel in ``cache``, compiling it first if there is none."""
        if not _wheels(cache):
            self.say(f"compiling {build.requirement}, about {max(1, round(build.minutes))} min")
            made = Path(tempfile.mkdtemp(prefix="wheel.", dir=self.folder))
            name = re.split("[=<>!~ ]", build.requirement)[0]
            # pip's own cache does not know the variables, and would hand over a wheel made with others.
            options = ("--no-build-isolation", "--no-deps", "--no-cache-dir", "--no-binary", name, "-w", str(made))
            self.pip("wheel", *options, build.requirement, variables=dict(build.variables))
            _publish(made, cache)
        self.install("--no-deps", *map(str, _wheels(cache)))

    def pip(self, *arguments: str, variables: dict[str, str] | None = None) -> None:
        common = ("--require-virtualenv", "--no-input", "--disable-pip-version-check")
        self.run(str(self.python), "-m", "pip", *common, *arguments, variables={"PIP_USER": "0", **(variables or {})})

    def run(self, *argv: str, variables: dict[str, str] | None = None) -> None:
        """Run a command to its end; EnvironmentUnavailable explains what its output says about a failure."""
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(argv)}\n".encode())
            log.flush()
            start = log.tell()
            code = self._guarded(argv, log.fileno(), variables or {})
        if code:
            text = self.log.read_bytes()[start:].decode(errors="replace")
            raise EnvironmentUnavailable(f"{explain(text)} All it printed is in {self.log}")

    def _guarded(self, argv: tuple[str, ...], log: int, variables: dict[str, str]) -> int:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-c", GUARD, *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**clean_variables(), **variables},
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the whole group
        )
        with guard:  # leaving closes stdin, which ends what still runs, and waits
            while not self.stop.is_set():
                try:
                    return guard.wait(timeout=0.1)
                except subprocess.TimeoutExpired:
                    continue
            raise KeyboardInterrupt


def clean_variables() -> dict[str, str]:
    """Return this process's environment variables without those that would blur the border between environments."""
    return {name: value for name, value in os.environ.items() if name not in UNWANTED}


def check(python: str | Path, statement: str) -> tuple[bool, str]:
    """Run a statement in an interpreter; return whether it worked, and the last line of what it printed."""
    try:
        argv = [str(python), "-c", statement]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, env=clean_variables(), cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"


def _publish(made: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(cache)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another run was faster: its wheels are as good
            raise


NETWORK = "NewConnectionError|ConnectTimeout|Connection refused|Connection reset|name resolution|ReadTimeout|ProxyError|"
NETWORK += "Network is unreachable|SSLError|RemoteDisconnected|Max retries exceeded"


def explain(output: str) -> str:
    """Return what pip's or a compiler's output says went wrong and what to do about it."""
    if "No space left on device" in output or "Errno 28" in output:
        return "The disk is full; free some space (an environment takes 1 to 10 GB) or set DLCOMPARE_CACHE to another."
    if re.search(NETWORK, output):
        return "No network: pip cannot reach its package index; connect, or set pip's proxy, index-url or find-links."
    if found := re.search(r"No matching distribution found for (\S+)", output):
        return (
            f"pip finds no {found[1]} for Python {platform.machine()} here;"
            " see whether pip's index-url, find-links and no-index settings lead to a source that has it."
        )
    errors = re.findall(r"^.*\b(?:error|Error|ERROR)\b.*$", output, re.MULTILINE) or output.strip().splitlines()[-1:]
    return f"It failed with: {errors[-1].strip() if errors else 'no message'}."
