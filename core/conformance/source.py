"""Which source decides the arithmetic of a job: a certificate speaks for this source, whatever else has changed.

It is the core's own part (``CORE``), the oracle, the backend and the model. The files of these three are found from the
objects themselves, as units: what lies directly below a folder of dlcompare, such as ``frameworks/jax`` or
``models/vgg.py``, and of a plugin from outside its whole package. A unit brings along the units that it imports.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import plugins

ROOT = Path(__file__).parents[1]
CORE = (  # the network and its parameters; what is compared and how; learning rates, the order of samples and steps
    "graph", "conformance/cases.py", "conformance/dropout.py", "conformance/oracle.py", "conformance/expectation.py",
    "conformance/recurrent.py", "conformance/check.py", "plugins/job.py", "plugins/optimiser.py",
    "plugins/schedule.py", "data/streams.py", "data/order.py", "data/feed.py", "data/weights.py",
    "data/generated/synthetic.py", "worker/windows.py", "kinds/training/loop.py")
OURS, APART = __name__.split(".")[:2]  # dlcompare, and its core, of which only CORE counts

Files = dict[str, Path]  # by a name that is the same wherever they are installed


def source_sha256(job: Job, *, model: bool = True) -> str:
    """Return a hash of the source that decides the arithmetic of a job, or without its model that of all models."""
    digest = hashlib.sha256()
    for name, path in sorted(sources(job, model=model).items()):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def sources(job: Job, *, model: bool = True) -> Files:
    """Return the files that decide the arithmetic of a job; ``model``: with those of its model."""
    found = {f"{APART}/{path.relative_to(ROOT)}": path for part in CORE for path in python(ROOT / part)}
    known = plugins()
    behind = [*classes(known.backend(ORACLE)), *classes(known.backend(job.framework)),
              *(functions(known.model(job.model).build) if model else ())]
    todo, seen = set(units(behind)), set[str]()
    while todo:
        unit = todo.pop()
        seen.add(unit)
        for module, path in modules(unit):
            found[module] = path
            todo |= {other for other in units(imports(path, module)) if other.startswith(f"{OURS}.")} - seen
    return found


def python(place: Path) -> list[Path]:
    """Return the Python files at a place, a file or a folder."""
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def classes(backend: object) -> Iterator[str]:
    """Yield the names of the modules that define a backend: its class and those it inherits from."""
    return (one.__module__ for one in type(backend).__mro__)


def functions(build: Any) -> Iterator[str]:
    """Yield the names of the modules that define a model's function, also one with arguments filled in."""
    if isinstance(build, functools.partial):
        for part in (build.func, *build.args, *build.keywords.values()):
            if callable(part):
                yield from functions(part)
    else:
        yield getattr(build, "__module__", None) or type(build).__module__


def units(names: Iterable[str]) -> Iterator[str]:
    """Yield the units that modules belong to; Python's own library and our core have none."""
    for name in names:
        top, *rest = name.split(".")
        if top == OURS and len(rest) > 1 and rest[0] != APART:
            yield ".".join([top, *rest[:2]])
        elif top != OURS and top not in sys.stdlib_module_names:
            yield top


def modules(unit: str) -> Iterator[tuple[str, Path]]:
    """Yield the modules of a unit, each with its file; none where the unit is no module but a name in one."""
    spec = importlib.util.find_spec(unit)
    if spec and spec.submodule_search_locations:
        for folder in map(Path, spec.submodule_search_locations):
            for path in python(folder):
                yield ".".join([unit, *path.relative_to(folder).with_suffix("").parts]), path
    elif spec and spec.origin:
        yield unit, Path(spec.origin)


def imports(path: Path, module: str) -> Iterator[str]:
    """Yield the full names of what a file imports, late imports too; ``from a import b`` is a.b."""
    package = module.rpartition(".")[0]  # also of an __init__.py, which :func:`modules` calls by that name
    with contextlib.suppress(SyntaxError, ImportError):  # of a file that nobody can import, such as a template
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield from (f"{base}.{alias.name}" for alias in node.names)
