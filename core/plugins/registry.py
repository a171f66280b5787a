"""Find, load and list plugins: the built-in ones and those of the entry-point group ``dlcompare``.

One broken plugin is reported, never fatal; two plugins that offer the same name are an error naming both.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from dlcompare.core.data import DatasetKind
from dlcompare.core.errors import PluginError, UsageError, unknown
from dlcompare.core.graph.model import Model
from dlcompare.core.variables import METERS, PARENT, PLUGINS

from . import hookspecs, trial
from .backend import Backend
from .engine import Engine
from .framework_engine import FrameworkEngine

if TYPE_CHECKING:
    from dlcompare.core.meters.meter import Meter

GROUP = "dlcompare"
BUILTIN = (
    "dlcompare.core.kinds.training",
    "dlcompare.core.kinds.time_to_accuracy",
    "dlcompare.core.kinds.compilation",
    "dlcompare.core.kinds.verification",
    "dlcompare.core.kinds.machine",
    "dlcompare.core.kinds.ops",
    "dlcompare.core.kinds.comm",
    "dlcompare.core.kinds.io",
    "dlcompare.inference.kind",
    "dlcompare.core.data.builtin",
    "dlcompare.core.meters.offered",
    "dlcompare.models",
    "dlcompare.frameworks.reference",
    "dlcompare.frameworks.pytorch",
    "dlcompare.frameworks.tensorflow",
    "dlcompare.frameworks.jax",
    "dlcompare.frameworks.mxnet",
    "dlcompare.inference.engines.onnxruntime",
    "dlcompare.inference.engines.openvino",
    "dlcompare.inference.engines.tensorrt",
)
LATE = {"dlcompare.core.meters.offered": "dlcompare_meters"}  # loaded when this hook is asked: many start without
KINDS = "dlcompare.core.kinds.kind"  # holds a hook and its contract; it stands on this module, so it is found by name
HOOKS: dict[str, tuple[str, type | str]] = {  # what one thing on offer is called, and what it is
    "dlcompare_backends": ("framework", Backend),
    "dlcompare_models": ("model", Model),
    "dlcompare_datasets": ("dataset", DatasetKind),
    "dlcompare_engines": ("engine", Engine),
    "dlcompare_meters": ("meter", "dlcompare.core.meters.meter.Meter"),
    "dlcompare_kinds": ("kind of measurement", f"{KINDS}.Kind"),
}


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why."""

    name: str
    error: str


class Plugins:
    """All plugins of this process, by the names of their modules. Loading them imports no framework."""

    def __init__(self, modules: Iterable[str], *, broken: Mapping[str, str] | None = None) -> None:
        """Load modules, but those that are known to be ``broken``, and why."""
        self.manager = pluggy.PluginManager("dlcompare")
        self.manager.add_hookspecs(hookspecs)
        self.manager.add_hookspecs(importlib.import_module(KINDS))
        self.broken = [Broken(name, error) for name, error in (broken or {}).items()]
        self._offers: dict[str, list[tuple[str, Any]]] = {hook: [] for hook in HOOKS}  # (plugin, item)
        wanted = [name for name in dict.fromkeys(modules) if not broken or name not in broken]
        self._late = [name for name in wanted if name in LATE]
        for name in wanted:
            if name not in LATE:
                self._load(name)

    def _load(self, name: str) -> None:
        try:
            self.manager.register(importlib.import_module(name), name)
            self.manager.check_pending()
            offers = {hook: self._offered(hook, name) for hook in HOOKS}
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises must not take the others down
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            self.broken.append(Broken(name, " ".join(f"{type(error).__name__}: {error}".split())))
        else:
            for hook, items in offers.items():
                self._offers[hook] += [(name, item) for item in items]

    def _offered(self, hook: str, plugin: str) -> list[Any]:
        """Return what a plugin's hook returns. Raises PluginError if it is not what the hook is for."""
        callers = getattr(self.manager.hook, hook).get_hookimpls()
        items = [item for caller in callers if caller.plugin_name == plugin for item in caller.function()]
        wanted: Any = HOOKS[hook][1]
        if items and isinstance(wanted, str):
            module, _, name = wanted.rpartition(".")
            wanted = getattr(importlib.import_module(module), name)
        for item in items:
            if not isinstance(item, wanted) or not isinstance(getattr(item, "name", None), str):
                raise PluginError(f"{hook} must return a list of named {wanted.__name__} objects, not of {item!r}")
        return items

    def by_name(self, hook: str) -> dict[str, Any]:
        """Return all that a hook offers by name. Raises PluginError when two plugins offer one name."""
        found: dict[str, tuple[str, Any]] = {}
        for name in [name for name in self._late if LATE[name] == hook]:
            self._late.remove(name)
            self._load(name)
        for plugin, item in self._offers[hook]:
            if item.name in found:
                raise PluginError(f"two plugins offer the {HOOKS[hook][0]} {item.name!r}: {found[item.name][0]} and "
                                  f"{plugin}; uninstall one of them, or name others in the variable {PLUGINS}")
            found[item.name] = (plugin, item)
        return {name: item for name, (_, item) in found.items()}

    def named(self, hook: str, name: str) -> Any:
        """Return one thing that a hook offers. Raises UsageError with what exists and the nearest match."""
        known = self.by_name(hook)
        if name in known:
            return known[name]
        broken = "; ".join(f"{b.name} ({b.error})" for b in self.broken)
        raise UsageError(f"{unknown(HOOKS[hook][0], name, known)}"
                         + (f" Plugins that could not be loaded: {broken}" if broken else ""))

    def backends(self) -> dict[str, Backend]:
        """Return every backend by name. Raises PluginError when two plugins offer one name."""
        return self.by_name("dlcompare_backends")

    def models(self) -> dict[str, Model]:
        """Return every model by name. Raises PluginError when two plugins offer one name."""
        return self.by_name("dlcompare_models")

    def datasets(self) -> dict[str, DatasetKind]:
        """Return every dataset kind by name. Raises PluginError when two plugins offer one name."""
        return self.by_name("dlcompare_datasets")

    def meters(self) -> dict[str, Meter]:
        """Return every meter by name, or those that the variable METERS names.

        Raises PluginError when two plugins offer one name, UsageError when a name is no meter's.
        """
        told = os.environ.get(METERS)
        if told is None:
            return self.by_name("dlcompare_meters")
        names = [name for name in told.replace(",", " ").split() if name != "none"]
        return {name: self.named("dlcompare_meters", name) for name in names}

    def engines(self) -> dict[str, Engine]:
        """Return every inference engine by name, each backend's own ``predict`` among them.

        Raises PluginError when two plugins offer one name.
        """
        own = {name: FrameworkEngine(backend, self.model) for name, backend in self.backends().items()}
        offered = self.by_name("dlcompare_engines")
        if twice := sorted(own.keys() & offered.keys()):
            raise PluginError(f"an engine is named like the framework {twice[0]!r}, whose own predict is an engine of "
                              "that name; give it another")
        return {**offered, **own}

    def engine(self, name: str) -> Engine:
        """Return one inference engine. Raises UsageError with what exists and the nearest match."""
        known = self.engines()
        if name not in known:
            raise unknown("engine", name, known)
        return known[name]

    def backend(self, name: str) -> Backend:
        """Return one backend. Raises UsageError with what exists and the nearest match."""
        return self.named("dlcompare_backends", name)

    def model(self, name: str) -> Model:
        """Return one model, also an operator as one. Raises UsageError with what exists and the nearest match."""
        from dlcompare.core.graph.named import is_operator, operator  # late: few ask for one

        if is_operator(name):
            return operator(name).model
        return self.named("dlcompare_models", name)

    def dataset(self, spec: str) -> tuple[DatasetKind, str]:
        """Return the dataset kind of ``NAME[:ARGUMENT]`` and its argument, ``~/`` in it resolved. Raises UsageError."""
        name, _, argument = spec.partition(":")
        home = argument.startswith("~/")  # as records have it
        return self.named("dlcompare_datasets", name), str(Path(argument).expanduser()) if home else argument

    def external(self) -> tuple[str, ...]:
        """Return the module names of loaded plugins that are not built in; a worker is told to load them."""
        return tuple(name for name, _ in self.manager.list_name_plugin() if name not in BUILTIN)

    def roots(self) -> tuple[Path, ...]:
        """Return the top-level package folders (or files) of external plugins, for a worker's import path."""
        return tuple(dict.fromkeys(_root(sys.modules[name]) for name in self.external()))


def _root(module: ModuleType) -> Path:
    """Return where the outermost package of a module lies, also where that has no ``__init__.py``."""
    file = Path(str(module.__file__))
    place = file.parent if file.name == "__init__.py" else file
    return [place, *place.parents][module.__name__.count(".")]


@functools.cache
def plugins() -> Plugins:
    """Return the plugins of this process, loaded once."""
    if PLUGINS in os.environ:
        extra = [name for name in os.environ[PLUGINS].split(",") if name]
    else:
        extra = [entry.value for entry in entry_points(group=GROUP)]
    others = [name for name in dict.fromkeys(extra) if name not in BUILTIN]
    broken = {} if PARENT in os.environ else trial.tried(others)  # a worker loads what its parent has tried
    return Plugins((*BUILTIN, *extra), broken=broken)


def try_each(seconds: float, names: Sequence[str]) -> None:
    """Load plug-ins alone, one after the other, in a process that is there for nothing else: see ``trial``."""
    trial.each(names, seconds, lambda name: "".join(one.error for one in Plugins((name,)).broken))
