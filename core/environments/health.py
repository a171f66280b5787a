"""Whether environments are well: what the doctor finds, and making one anew in which the framework does not run."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlcompare.core.errors import EnvironmentUnavailable, PluginError
from dlcompare.core.plugins.runtime import EnvironmentSpec

from . import store
from .build import Say
from .interpreters import check, find_python
from .resolve import Spec, create, links_of, locate, megabytes, need_tools_of

# What Python, the linker or a launcher says of packages that are not there, or not whole.
SOUNDS_BROKEN = re.compile("ModuleNotFoundError|ImportError|No module named|cannot import name|AttributeError: module|"
                           "cannot open shared object|undefined symbol|SyntaxError|cannot be started")


def create_checked(name: str, device: str, spec: EnvironmentSpec, progress: Say, *, stop: threading.Event) -> Path:
    """Do as :func:`create`; EnvironmentUnavailable also if one is there in which the framework does not run."""
    if trouble := broken(name, device, spec):
        raise EnvironmentUnavailable(f"{name} on {device}: {trouble}")
    return create(name, device, spec, progress, stop=stop)


def repair(name: str, device: str, spec: EnvironmentSpec, progress: Say, *, stop: threading.Event) -> Path:
    """Make an environment anew in which the framework does not run; see :func:`create`."""
    for link in links_of(name, device, spec):
        with store.lock(link.name, lambda line: None, stop):
            if broken(name, device, spec):  # nobody else has made it anew meanwhile
                link.unlink(missing_ok=True)
    return create(name, device, spec, progress, stop=stop)


def broken(name: str, device: str, spec: EnvironmentSpec) -> str | None:
    """Return why the framework does not run in an environment that is there, and the remedy; None if it does."""
    try:
        links = links_of(name, device, spec)
    except PluginError:  # a lock file that cannot be read: it is not known which one it would be
        return None
    if python := locate(spec, name, device):
        works, words = check(python, spec.check)
        return None if works else remedy(name, device, words)
    there = any(link.is_symlink() for link in links)
    return remedy(name, device, "the Python that it was made with is gone") if there else None


def remedy(name: str, device: str, words: str) -> str:
    """Return what to do about an environment that is broken in this way."""
    more = "" if device == "cpu" else f" --device {device}"
    return f"the environment is broken ({words}); make it anew: dlcompare env repair {name}{more}"


def blamed(reason: str, name: str, device: str, spec: Spec) -> str:
    """Return the reason of a job's failure, with the remedy if its environment is broken and the reason sounds so."""
    if not isinstance(spec, EnvironmentSpec) or not SOUNDS_BROKEN.search(reason):
        return reason
    trouble = broken(name, device, spec)
    return f"{reason.rstrip('.')}. {trouble[:1].upper()}{trouble[1:]}" if trouble else reason


@dataclass(frozen=True)
class Finding:
    """One thing that ``dlcompare env doctor`` looked at; ``detail`` says what was found, or what to do."""

    what: str  # python, tools, environment, framework, lock file, plugin
    ok: bool
    detail: str


def doctor(name: str, device: str, spec: Spec) -> list[Finding]:
    """Look at all that a backend's environment needs, one finding each; nothing is changed."""
    if isinstance(spec, PluginError):
        return [Finding("plugin", False, str(spec))]
    if spec is None:
        return [Finding("environment", True, f"needs none of its own: {sys.executable}")]
    try:
        python = locate(spec, name, device)
    except PluginError as error:
        return [Finding("lock file", False, str(error))]  # without it there is nothing to look for
    return [*_needs(spec), *_place(name, device, spec, python), _lock_file(name, device, python)]


def _needs(spec: EnvironmentSpec) -> Iterator[Finding]:
    try:
        python, minor = find_python(spec)
    except EnvironmentUnavailable as error:
        yield Finding("python", False, str(error))
        return
    yield Finding("python", True, f"{python} ({minor[0]}.{minor[1]})")
    try:
        need_tools_of(spec, minor)
        yield Finding("tools", True, ", ".join(tool for build in spec.builds for tool in build.tools) or "needs none")
    except EnvironmentUnavailable as error:
        yield Finding("tools", False, str(error))


def _place(name: str, device: str, spec: EnvironmentSpec, python: Path | None) -> Iterator[Finding]:
    if python is None:
        yield Finding("environment", False, broken(name, device, spec) or "absent: dlcompare env create")
        return
    yield Finding("environment", True, str(python))
    works, words = check(python, spec.check)
    yield Finding("framework", works, words if works else remedy(name, device, words))


def _lock_file(name: str, device: str, python: Path | None) -> Finding:
    outdated = [link for link in store.links(name, device) if not python or link != python.parent.parent]
    size = megabytes(sum(store.read_note(link)["size"] for link in outdated))
    told = f"has changed since {len(outdated)} environment(s) of {size} were made: dlcompare env remove"
    return Finding("lock file", not outdated, told if outdated else "unchanged")
