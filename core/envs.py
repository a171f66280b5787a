"""Which Python runs a backend, and keeping one environment per backend and accelerator under the user's cache folder.

    <cache>/envs/<backend>-<device>-<hash>          a link to the finished environment; nothing unfinished has one
    <cache>/envs/<backend>-<device>-<hash>.<token>  the environment itself
    <cache>/wheels/<package>-<hash>/                compiled once, reused when an environment is made anew
    <cache>/locks/, <cache>/logs/                   who is at work on which; what pip and the compilers printed

An environment is made under its own name and published by one link, because a venv cannot be moved: its scripts hold
its path. The hash covers the lock file, the builds and the Python version, so a changed lock means a new environment.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .backend import Backend, EnvironmentSpec
from .envbuild import Maker, Minor, Say, check, digest, find_python, minors, need_tools, probe, requirements, wheel_key
from .errors import DlcompareError, EnvironmentUnavailable, UsageError

META = "dlcompare.json"
Wanted = tuple[str, str, EnvironmentSpec]  # backend name, device, what its environment holds


def cache_root() -> Path:
    """Return the folder for all that can be made anew: ``DLCOMPARE_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("DLCOMPARE_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dlcompare"))


def resolve(choice: str | None, backend: Backend, device: str, progress: Say) -> Path:
    """Return the interpreter for a backend's workers.

    ``choice`` None: the backend's own environment, made if need be. ``current``: the running interpreter. Otherwise
    the path of a Python. UsageError if there is no Python at that path; EnvironmentUnavailable if the interpreter
    that was chosen does not hold the framework, or the environment cannot be made.
    """
    spec = backend.environment(device)
    if choice is None:
        return create(backend.name, device, spec, progress) if spec else Path(sys.executable)
    python = Path(sys.executable if choice == "current" else choice).expanduser().absolute()
    if not probe(python):
        raise UsageError(f"--env {choice}: no Python runs at {python}; give 'current' or the path of a python executable")
    works, words = check(python, spec.check) if spec else (True, "")
    if not works:
        raise EnvironmentUnavailable(f"{python} cannot run {backend.name}: {words}. Without --env its own is made")
    return python


def locate(spec: EnvironmentSpec, name: str, device: str) -> Path | None:
    """Return the interpreter of the environment if it is ready, else None."""
    for minor in minors(spec):
        python = _link(name, device, spec, minor) / "bin" / "python"
        if python.exists():  # also false when the Python it was made with is gone
            return python
    return None


def create(
    backend_name: str, device: str, spec: EnvironmentSpec, progress: Say, *, stop: threading.Event | None = None
) -> Path:
    """Return the interpreter of the environment, making it first if need be; wait if another process is making it.

    ``progress`` gets a line per step. Setting ``stop`` from another thread ends it as Ctrl-C does: KeyboardInterrupt.
    EnvironmentUnavailable says why it cannot be had and what to install. Whatever ends it early, nothing is left.
    """
    stop = stop or threading.Event()

    def say(line: str) -> None:
        progress(f"{backend_name} on {device}: {line}")

    try:
        if ready := locate(spec, backend_name, device):
            return ready
        python, minor = find_python(spec)
        link = _link(backend_name, device, spec, minor)
        need_tools(spec, cache_root() / "wheels", minor)
        _sweep()
        with _alone(link.name, say, stop):
            return locate(spec, backend_name, device) or _make(link, python, minor, spec, say, stop)
    except EnvironmentUnavailable as error:
        raise EnvironmentUnavailable(f"{backend_name} on {device}: {error}") from error
    except OSError as error:
        raise EnvironmentUnavailable(f"{backend_name} on {device}: {_disk_trouble(error)}") from error


def create_all(wanted: Sequence[Wanted], progress: Say) -> dict[tuple[str, str], Path | DlcompareError]:
    """Make several environments at once; return for each (backend, device) its interpreter, or why there is none.

    ``progress`` is called from several threads. Ctrl-C ends them all before it is raised.
    """
    from concurrent.futures import ThreadPoolExecutor

    def attempt(name: str, device: str, spec: EnvironmentSpec) -> Path | DlcompareError:
        try:
            return create(name, device, spec, progress, stop=stop)
        except DlcompareError as error:
            return error

    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        try:
            made = {(name, device): pool.submit(attempt, name, device, spec) for name, device, spec in wanted}
            return {key: future.result() for key, future in made.items()}
        except BaseException:
            stop.set()
            raise


def remove(backend_name: str, device: str) -> int:
    """Remove a backend's environments for a device, outdated ones too; return the bytes freed. Wheels are kept."""
    freed = 0
    for link in _links(backend_name, device):
        with _alone(link.name, lambda line: None, threading.Event()):
            freed += _meta(link).get("bytes", 0)
            link.unlink(missing_ok=True)
    _sweep()
    return freed


@dataclass(frozen=True)
class Status:
    """One line of ``dlcompare env list``; ``size`` in bytes; ``why`` says why it is unavailable."""

    name: str
    device: str
    state: str  # ready, absent, unavailable
    why: str = ""
    python: str = ""
    size: int = 0
    path: Path | None = None
    note: str = ""


def status(wanted: Iterable[tuple[str, str, EnvironmentSpec | None]]) -> list[Status]:
    """Return the state of each environment; a spec of None is the running interpreter, which is always ready."""
    return [_status(name, device, spec) for name, device, spec in wanted]


def _status(name: str, device: str, spec: EnvironmentSpec | None) -> Status:
    if spec is None:
        version = ".".join(map(str, sys.version_info[:3]))
        return Status(name, device, "ready", python=version, path=Path(sys.executable), note="runs in dlcompare's own")
    if python := locate(spec, name, device):
        folder = python.parent.parent
        meta = _meta(folder)
        return Status(
            name, device, "ready", python=meta["python"], size=meta["bytes"], path=folder, note=spec.note
        )
    try:
        _, minor = find_python(spec)
        need_tools(spec, cache_root() / "wheels", minor)
    except EnvironmentUnavailable as error:
        return Status(name, device, "unavailable", why=str(error), note=spec.note)
    return Status(name, device, "absent", python=".".join(map(str, minor)), note=spec.note)
