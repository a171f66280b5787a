"""Which Python runs a backend: its own environment, made on demand from its lock file, or one that the user names."""

from __future__ import annotations

import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.errors import DlcompareError, EnvironmentUnavailable, PluginError, UsageError
from dlcompare.core.plugins.runtime import EnvironmentSpec, Runtime
from dlcompare.core.privacy import check_private

from . import store
from .build import Maker, Say, need_tools, wheels
from .interpreters import Minor, check, find_python, minors, probe

Spec = EnvironmentSpec | PluginError | None  # what an environment holds, or why nobody knows; None: it needs none
Wanted = tuple[str, str, EnvironmentSpec | PluginError]  # backend name, device, what its environment holds


def ask(runtime: Runtime, device: str) -> Spec:
    """Return what the environment of a runtime holds on a device, or what asking for it raised."""
    try:
        return runtime.environment(device)
    except Exception as error:  # one plug-in's trouble, whatever it is, is not the others'
        return PluginError(f"{runtime.name} raised {type(error).__name__}: {error} when asked for its environment on "
                           f"{device}; tell the plugin's author")


def resolve(choice: str | None, backend: Runtime, device: str, progress: Say) -> Path:
    """Return the interpreter for a backend's workers.

    ``choice`` None: the backend's own environment, made if need be. ``current``: the running interpreter. Otherwise
    the path of a Python. UsageError if no Python runs at that path; EnvironmentUnavailable if the one that was chosen
    does not hold the framework, or the backend's own cannot be made; PluginError if it cannot be asked for.
    """
    spec = ask(backend, device)
    if isinstance(spec, PluginError):
        raise spec
    if choice is None:
        return create(backend.name, device, spec, progress) if spec else Path(sys.executable)
    python = Path(sys.executable if choice == "current" else choice).expanduser().absolute()
    if not probe(python):
        raise UsageError(f"--env {choice}: no Python runs at {python}; give 'current' or the path of a Python")
    works, words = check(python, spec.check) if spec else (True, "")
    if not works:
        raise EnvironmentUnavailable(f"{python} cannot run {backend.name}: {words}; without --env its own is made")
    return python


def locate(spec: EnvironmentSpec, name: str, device: str) -> Path | None:
    """Return the interpreter of the environment if it is ready, else None."""
    for link in links_of(name, device, spec):
        python = link / "bin" / "python"
        if python.exists():  # also false when the Python it was made with is gone
            for place in (python.parent, *link.glob("lib/python*/site-packages")):
                check_private(place)
            return python
    return None


def create(
    backend_name: str, device: str, spec: EnvironmentSpec, progress: Say, *, stop: threading.Event | None = None
) -> Path:
    """Return the interpreter of the environment, making it first if need be; wait if another process is making it.

    ``progress`` gets a line per step. Setting ``stop`` from another thread ends it as Ctrl-C does: KeyboardInterrupt.
    EnvironmentUnavailable says why it cannot be had and what to install. Whatever ends it early, nothing is left.
    """

    def say(line: str) -> None:
        progress(f"{backend_name} on {device}: {line}")

    try:
        return locate(spec, backend_name, device) or _create(backend_name, device, spec, say, stop or threading.Event())
    except EnvironmentUnavailable as error:
        raise EnvironmentUnavailable(f"{backend_name} on {device}: {error}") from error
    except OSError as error:
        raise EnvironmentUnavailable(f"{backend_name} on {device}: {store.disk_trouble(error)}") from error


def links_of(name: str, device: str, spec: EnvironmentSpec) -> list[Path]:
    """Return the links that publish, or would publish, the environment, one for each Python that will do."""
    return [store.link_of(spec.owner or name, device, spec, minor) for minor in minors(spec)]


def create_all(wanted: Sequence[Wanted], progress: Say,
               make: Callable[..., Path] = create) -> dict[tuple[str, str], Path | DlcompareError]:
    """Make several environments at once; return for each (backend, device) its interpreter, or why there is none.

    ``progress`` is called from several threads. Ctrl-C ends them all before it is raised. ``make``: ``create``, or
    another with its arguments.
    """
    from concurrent.futures import ThreadPoolExecutor

    def attempt(name: str, device: str, spec: EnvironmentSpec | PluginError) -> Path | DlcompareError:
        if isinstance(spec, PluginError):
            return spec
        try:
            return make(name, device, spec, progress, stop=stop)
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


def _create(name: str, device: str, spec: EnvironmentSpec, say: Say, stop: threading.Event) -> Path:
    python, minor = find_python(spec)
    need_tools_of(spec, minor)
    store.sweep()
    link = store.link_of(spec.owner or name, device, spec, minor)
    with store.lock(link.name, say, stop):
        return locate(spec, name, device) or _make(Maker(*_paths(link), say, stop), link, python, spec, minor)


def _paths(link: Path) -> tuple[Path, Path]:
    """Return where to make the environment, and a new log."""
    log = store.folder("logs") / f"{link.name}.log"
    log.write_bytes(b"")
    return store.folder("envs") / f"{link.name}.{secrets.token_hex(4)}", log


def _make(maker: Maker, link: Path, python: str, spec: EnvironmentSpec, minor: Minor) -> Path:
    begun = time.monotonic()
    link.unlink(missing_ok=True)  # its Python is gone, or it would have been ready
    try:
        _fill(maker, python, spec, minor)
        version, _ = probe(maker.python) or (minor, True)
        size = store.write_note(maker.folder, python=".".join(map(str, version)))
        link.symlink_to(maker.folder.name)
    except BaseException:
        shutil.rmtree(maker.folder, ignore_errors=True)
        raise
    maker.say(f"ready after {time.monotonic() - begun:.0f} s, {megabytes(size)} in {link}")
    return link / "bin" / "python"


def _fill(maker: Maker, python: str, spec: EnvironmentSpec, minor: Minor) -> None:
    count = len(store.requirements(spec.lock))
    maker.say(f"installing {count} packages for Python {minor[0]}.{minor[1]} (log: {maker.log})")
    maker.venv(python)
    maker.install("-r", str(spec.lock))
    if spec.without:
        maker.pip("uninstall", "--yes", *spec.without)
    kept = [store.wheel_folder(build, spec, minor) for build in spec.builds]
    for build, wheel in zip(spec.builds, kept, strict=True):
        maker.compile(build, wheel)
    maker.say("trying it out")
    works, words = check(maker.python, spec.check)
    if not works:
        for wheel in kept:  # one that does not work must not be met again
            shutil.rmtree(wheel, ignore_errors=True)
        raise EnvironmentUnavailable(f"all is installed, but {spec.check!r} fails: {words}. Log: {maker.log}")


def need_tools_of(spec: EnvironmentSpec, minor: Minor) -> None:
    """Raise EnvironmentUnavailable if a tool is missing for what is not compiled yet."""
    need_tools([build for build in spec.builds if not wheels(store.wheel_folder(build, spec, minor))])


def remove(backend_name: str, device: str) -> int:
    """Remove the environments kept under a backend's name for a device, outdated ones too; return the bytes freed.

    One that belongs to another backend, which shares it, stays. Wheels are kept.
    """
    freed = 0
    for link in store.links(backend_name, device):
        with store.lock(link.name, lambda line: None, threading.Event()):
            freed += store.read_note(link)["size"]
            link.unlink(missing_ok=True)
    store.sweep()
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


def status(wanted: Iterable[tuple[str, str, Spec]]) -> list[Status]:
    """Return the state of each environment; a spec of None stands for the running interpreter, always ready."""
    return [_status(name, device, spec) for name, device, spec in wanted]


def _status(name: str, device: str, spec: Spec) -> Status:
    if isinstance(spec, PluginError):
        return Status(name, device, "unavailable", why=str(spec))
    if spec is None:
        version = ".".join(map(str, sys.version_info[:3]))
        return Status(name, device, "ready", python=version, path=Path(sys.executable), note="needs none of its own")
    try:
        if python := locate(spec, name, device):
            link = python.parent.parent
            return Status(name, device, "ready", path=link, note=_note(spec), **store.read_note(link))
        _, minor = find_python(spec)
        need_tools_of(spec, minor)
    except (EnvironmentUnavailable, PluginError) as error:  # a lock file that is not there is its plugin's trouble
        return Status(name, device, "unavailable", why=str(error), note=_note(spec))
    return Status(name, device, "absent", python=".".join(map(str, minor)), note=_note(spec))


def _note(spec: EnvironmentSpec) -> str:
    return " · ".join(filter(None, [f"shared with {spec.owner}" if spec.owner else "", spec.note]))


def megabytes(size: int) -> str:
    """Return a size in bytes for people to read."""
    return f"{size / 1e6:.0f} MB"
