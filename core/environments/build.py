"""Making one environment: a venv, a lock file's packages, wheels compiled from source.

Every command's output goes to a log that error messages cite; no command outlives the process that started it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.files import warn
from dlcompare.core.machine.inherited import for_python
from dlcompare.core.plugins.runtime import Build

Say = Callable[[str], None]

# Runs a command in a process group of its own and kills that group when the other end of stdin closes: that happens
# even when the parent dies by SIGKILL, so no orphaned compiler goes on.
GUARD = """
import os, signal, subprocess, sys, threading
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
os._exit(code if code >= 0 else 128 - code)
"""
NETWORK = re.compile(
    "NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|RemoteDisconnected|Max retries exceeded"
    "|Connection refused|Connection reset|Network is unreachable|name resolution"
)
KILLED = re.compile("Killed signal terminated program|ninja: .*Killed|^Killed$|virtual memory exhausted", re.MULTILINE)
MEMORY = ("a person did so, or the kernel, as it does when memory runs out; close other programs or allow more memory, "
          "then repeat the command.")


def need_tools(builds: Iterable[Build]) -> None:
    """Raise EnvironmentUnavailable if a tool that compiling these needs is missing."""
    for build in builds:
        if missing := [tool for tool in build.tools if not shutil.which(tool)]:
            raise EnvironmentUnavailable(
                f"{build.requirement} must be compiled, and {' and '.join(missing)} cannot be found on PATH; "
                f"install what is missing: apt-get install {' '.join(missing)}"
            )


def project(build: Build) -> str:
    """Return the name of the package that is compiled."""
    return re.split("[=<>!~ ]", build.requirement)[0]


def wheels(folder: Path) -> list[Path]:
    """Return the wheels in a folder that are whole; none if there is no folder."""
    return [wheel for wheel in sorted(folder.glob("*.whl")) if is_whole(wheel)]


def is_whole(wheel: Path) -> bool:
    """Return whether a wheel can be read to its end; it is said if not."""
    from zipfile import ZipFile  # late: few commands look at wheels

    try:
        with ZipFile(wheel) as file:
            cut = file.testzip()
    except Exception as error:  # of what is no archive any more, zipfile and zlib raise many things
        cut = str(error)
    if cut is not None:
        warn(f"{wheel} is damaged ({cut}): it is compiled again")
    return cut is None


@dataclass
class Maker:
    """An environment in the making; setting ``stop`` from another thread ends it with KeyboardInterrupt."""

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

    def compile(self, build: Build, kept: Path) -> None:
        """Install a requirement from the wheel in the folder ``kept``, compiling it first if there is none."""
        if not wheels(kept):
            self.say(f"compiling {build.requirement}, about {max(1, round(build.minutes))} min")
            made = self.folder / "wheels"
            made.mkdir(exist_ok=True)
            # pip's own cache does not know the variables, and would hand over a wheel made with others.
            options = ("--no-build-isolation", "--no-deps", "--no-cache-dir", f"--no-binary={project(build)}")
            self.pip("wheel", *options, f"--wheel-dir={made}", build.requirement, variables=dict(build.variables))
            shutil.rmtree(kept, ignore_errors=True)  # what is damaged
            _keep(made, kept)
        self.install("--no-deps", *map(str, wheels(kept)))

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
            raise EnvironmentUnavailable(f"{explain_killed(code) or explain(text)} All that was printed: {self.log}")

    def _guarded(self, argv: tuple[str, ...], log: int, variables: dict[str, str]) -> int:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-c", GUARD, *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**for_python(), **variables},
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the whole group
        )
        try:
            while not self.stop.is_set():
                with suppress(subprocess.TimeoutExpired):
                    return guard.wait(timeout=0.1)
            raise KeyboardInterrupt
        finally:
            _end(guard)


def _end(guard: subprocess.Popen[bytes]) -> None:
    """Have the guard kill what still runs, and see that it is gone: it must not write while its folder is removed."""
    assert guard.stdin
    guard.stdin.close()
    guard.wait()
    limit = time.monotonic() + 2  # where nobody reaps orphans the group never empties
    with suppress(ProcessLookupError):
        while time.monotonic() < limit:
            os.killpg(guard.pid, 0)
            time.sleep(0.01)


def _keep(made: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(kept)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another run was faster: its wheels are as good
            raise


def explain_killed(code: int) -> str:
    """Return that a signal ended a command, by its exit code, and what to do about it; "" if none did."""
    number = -code if code < 0 else code - 128
    name = next((one.name for one in signal.Signals if one == number), "")
    return f"pip was killed ({name}): {MEMORY}" if name else ""


def explain(output: str) -> str:
    """Return what pip's or a compiler's output says went wrong and what to do about it."""
    if KILLED.search(output):
        return f"The compiler was killed: {MEMORY}"
    if "No space left on device" in output:
        return "The disk is full: free some space (an environment takes 1 to 10 GB), or set DLCOMPARE_CACHE elsewhere."
    absent = re.search(r"No matching distribution found for (\S+)", output)
    if NETWORK.search(output if absent else output[-3000:]):
        return "No network: pip cannot reach its package index. Connect, or mend pip's proxy, index-url or find-links."
    if absent:
        return (
            f"pip finds no {absent[1]} that fits this Python and machine; is there a network, "
            "and do pip's index-url, find-links and no-index settings lead to a source that has it?"
        )
    compiler = re.search(r"^.*(: (fatal )?error: |CMake Error).*$", output, re.MULTILINE)
    lines = re.findall(r"^.*(?:error|Error|ERROR).*$", output, re.MULTILINE) or output.strip().splitlines()
    return f"It failed: {(compiler[0] if compiler else lines[-1] if lines else 'no message').strip()[:300]}."
