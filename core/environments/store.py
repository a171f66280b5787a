"""Where environments are kept, under what names, and who may work on one at a time.

    <cache>/envs/<backend>-<device>-<hash>          a link to the finished environment; nothing unfinished has one
    <cache>/envs/<backend>-<device>-<hash>.<token>  the environment itself
    <cache>/wheels/<package>-<hash>/                compiled once, used again when an environment is made anew
    <cache>/locks/, <cache>/logs/                   who is at work on which; what pip and the compilers printed

An environment is made under its final name and published by one link, because a venv cannot be moved: its scripts
hold its path. The hash covers the lock file, the builds and the Python version: a changed lock, a new environment.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dlcompare.core.errors import PluginError
from dlcompare.core.files import cache_root, read_cached
from dlcompare.core.plugins.runtime import Build, EnvironmentSpec
from dlcompare.core.privacy import check_private

from .build import Say, project
from .interpreters import Minor

META = "dlcompare.json"
NO_NOTE: dict[str, Any] = {"python": "", "size": 0}
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?===?[^\s;*]+(\s*;.+)?")


def folder(name: str) -> Path:
    """Return a folder of the cache, made if need be."""
    path = cache_root() / name
    path.mkdir(parents=True, exist_ok=True)
    return check_private(path)


def requirements(lock: Path) -> list[str]:
    """Return a lock file's requirements without its comments; PluginError names a line that pins nothing."""
    try:
        lines = [line.partition("#")[0].strip() for line in lock.read_text().splitlines()]
    except (OSError, UnicodeError) as error:
        raise PluginError(f"the lock file {lock} cannot be read: {getattr(error, 'strerror', error)}; it comes with "
                          "the plugin: reinstall the plugin, or tell its author") from error
    for line in filter(None, lines):
        if not PINNED.fullmatch(line):
            raise PluginError(f"{lock} pins no version in the line {line!r}; every line must be NAME==VERSION")
    return [line for line in lines if line]


def link_of(name: str, device: str, spec: EnvironmentSpec, minor: Minor) -> Path:
    """Return the link that publishes, or would publish, an environment made with a Python version."""
    builds = [*((build.requirement, dict(build.variables)) for build in spec.builds), *spec.without]
    return cache_root() / "envs" / f"{_stem(name, device)}-{_digest(requirements(spec.lock), builds, minor)}"


def links(name: str, device: str) -> list[Path]:
    """Return the published environments of a backend and device, outdated ones too."""
    ours = re.compile(re.escape(_stem(name, device)) + "-[0-9a-f]{12}")
    found = (cache_root() / "envs").glob("*")
    return sorted(path for path in found if ours.fullmatch(path.name) and path.is_symlink())


def wheel_folder(build: Build, spec: EnvironmentSpec, minor: Minor) -> Path:
    """Return where a compiled wheel is kept: it fits only the packages and the Python it was compiled against."""
    key = _digest(build.requirement, dict(build.variables), requirements(spec.lock), minor, platform.machine())
    return cache_root() / "wheels" / f"{project(build)}-{key}"


def _stem(name: str, device: str) -> str:
    return re.sub(r"[^\w.-]", "_", f"{name}-{device}")


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def write_note(environment: Path, *, python: str) -> int:
    """Write down an environment's Python version and size beside it; return the size in bytes."""
    size = sum(path.lstat().st_size for path in environment.rglob("*"))
    (environment / META).write_text(json.dumps({"python": python, "size": size}))
    return size


def read_note(environment: Path) -> dict[str, Any]:
    """Return the Python version and the size that were written down when the environment was made."""
    return read_cached(environment / META, _as_note, instead="its version and size are not known") or NO_NOTE


def _as_note(text: bytes) -> dict[str, Any]:
    known = json.loads(text)
    return {"python": str(known["python"]), "size": int(known["size"])}


@contextmanager
def lock(key: str, say: Say, stop: threading.Event) -> Iterator[None]:
    """Keep other processes and threads from working on the same environment; the lock dies with its holder."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder("locks") / key)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another run that is at work on the same environment")
    while not lock.is_locked:
        if stop.is_set():
            raise KeyboardInterrupt
        with suppress(Timeout):
            lock.acquire(timeout=0.5)
    try:
        yield
    finally:
        lock.release()


def sweep() -> None:
    """Remove every unpublished environment whose maker is dead: a living one holds the lock of its key."""
    from filelock import FileLock, Timeout

    for path in folder("envs").iterdir():
        key = path.name.rpartition(".")[0]
        if path.is_symlink() or not key:
            continue
        with suppress(Timeout), FileLock(folder("locks") / key, timeout=0):
            if (path.parent / key).resolve() != path.resolve():
                shutil.rmtree(path, ignore_errors=True)


def disk_trouble(error: OSError) -> str:
    """Return why the cache cannot be written, and what to do about it."""
    if error.errno == errno.ENOSPC:
        return f"the disk of {cache_root()} is full: free some space, or set DLCOMPARE_CACHE to a folder elsewhere"
    what = f"{error.filename or cache_root()}: {error.strerror or error}"
    return f"cannot write the cache folder ({what}); set DLCOMPARE_CACHE to a folder that you can write"
