"""Find, load and list plugins: the built-in ones and those of the entry-point group ``dlcompare``.

One broken plugin is reported, never fatal; two plugins that offer the same name are an error naming both.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs
from .backend import Backend
from .data import DatasetKind
from .errors import PluginError, unknown
from .model import Model

GROUP = "dlcompare"
BUILTIN = (
    "dlcompare.core.data.builtin",
    "dlcompare.models",
    "dlcompare.frameworks.reference",
    "dlcompare.frameworks.pytorch",
    "dlcompare.frameworks.tensorflow",
)
VARIABLE = "DLCOMPARE_PLUGINS"  # modules to load instead of the installed entry points; the parent tells its workers so


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why."""

    name: str
    error: str


class Plugins:
    """All plugins of this process. Loading them imports no framework."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.manager = pluggy.PluginManager("dlcompare")
        self.manager.add_hookspecs(hookspecs)
        self.broken: list[Broken] = []
        for name in dict.fromkeys(modules):
            self._load(name)

    def _load(self, name: str) -> None:
        try:
            module = importlib.import_module(name.partition(":")[0])
            self.manager.register(module, name)
            self.manager.check_pending()
        except Exception as error:  # whatever a stranger's module raises must not take the others down
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            self.broken.append(Broken(name, f"{type(error).__name__}: {error}"))

    def _offers(self, hook: str) -> dict[str, Any]:
        found: dict[str, tuple[str, Any]] = {}
        for caller in getattr(self.manager.hook, hook).get_hookimpls():
            for item in caller.function():
                if item.name in found:
                    raise PluginError(
                        f"two plugins offer {hook.removeprefix('dlcompare_')[:-1]} {item.name!r}: "
                        f"{found[item.name][0]} and {caller.plugin_name}; uninstall or rename one of them")
                found[item.name] = (caller.plugin_name, item)
        return {name: item for name, (_, item) in found.items()}

    def backends(self) -> dict[str, Backend]:
        """Return every backend by name. Raises PluginError when two plugins offer one name."""
        return self._offers("dlcompare_backends")

    def models(self) -> dict[str, Model]:
        """Return every model by name. Raises PluginError when two plugins offer one name."""
        return self._offers("dlcompare_models")

    def datasets(self) -> dict[str, DatasetKind]:
        """Return every dataset kind by name. Raises PluginError when two plugins offer one name."""
        return self._offers("dlcompare_datasets")

    def backend(self, name: str) -> Backend:
        """Return one backend. Raises UsageError with what exists and the nearest match."""
        return _get("framework", name, self.backends())

    def model(self, name: str) -> Model:
        """Return one model. Raises UsageError with what exists and the nearest match."""
        return _get("model", name, self.models())

    def dataset(self, spec: str) -> tuple[DatasetKind, str]:
        """Return the dataset kind of ``NAME[:ARGUMENT]`` and its argument. Raises UsageError."""
        name, _, argument = spec.partition(":")
        return _get("dataset", name, self.datasets()), argument

    def external(self) -> tuple[str, ...]:
        """Return the module names of loaded plugins that are not built in; a worker is told to load them."""
        return tuple(n for n, _ in self.manager.list_name_plugin() if n not in BUILTIN and n != hookspecs.__name__)

    def roots(self) -> tuple[Path, ...]:
        """Return the top-level package folders (or files) of external plugins, for a worker's import path."""
        return tuple(_root(self.manager.get_plugin(name)) for name in self.external())


def _get(kind: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise unknown(kind, name, known)
    return known[name]


def _root(module: ModuleType) -> Path:
    top = importlib.import_module(module.__name__.partition(".")[0])
    file = Path(str(top.__file__))
    return file.parent if file.name == "__init__.py" else file


@functools.cache
def plugins() -> Plugins:
    """Return the plugins of this process, loaded once."""
    if VARIABLE in os.environ:
        extra = [name for name in os.environ[VARIABLE].split(",") if name]
    else:
        extra = [entry.value for entry in entry_points(group=GROUP)]
    return Plugins((*BUILTIN, *extra))
