"""Imports point one way, frameworks stay inside their plugins, the command line starts light, and code stays short."""

from __future__ import annotations

import ast
import functools
import os
import resource
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "frameworks", "models", "inference")

# A package, or a module that is named here itself, may import those of earlier lines alone, and its own modules.
LAYERS = [line.split() for line in """
    core
    core.published
    core.graph core.machine core.meters
    core.data core.records
    core.plugins core.judging
    core.environments core.launch core.metrics core.conformance core.plan inference.onnx
    core.reports core.kinds.kind frameworks models inference.engines inference.precision
    core.run core.worker core.published.report inference.cell
    core.kinds.training core.cli inference.worker inference.preparation inference.results
    core.kinds core.__main__ inference.kind inference
""".strip().splitlines()]
PLACE = {name: number for number, names in enumerate(LAYERS) for name in names}

CONTRACTS = {  # what the modules of a plug-in may import of core; besides that, its own folder
    "models": {"core", "core.graph", "core.graph.model", "core.graph.ops"},
    "frameworks": {"core", "core.data.stream", "core.data.view", "core.errors", "core.graph",
                   "core.graph.ops.recurrent", "core.graph.ops.windows", "core.machine.accelerators",
                   "core.machine.ports", "core.launch.lifeline", "core.launch.process_group", "core.plugins.backend",
                   "core.plugins.collectives", "core.plugins.job", "core.plugins.optimiser", "core.plugins.runtime",
                   "frameworks.gloo", "frameworks.horovod"},  # the last are no plug-ins: two of them share each
    "inference.engines": {"core", "core.data.checked", "core.errors", "core.graph", "core.machine.accelerators",
                          "core.plugins.backend", "core.plugins.engine", "core.plugins.inference_job",
                          "core.plugins.registry", "core.plugins.runtime"},
}
FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "horovod", "jax", "jaxlib", "flax", "mxnet", "grain"}
IMPORTING_BY_NAME = {"core.plugins.registry", "core.data.builtin", "core.kinds.kind"}  # the last: a kind's own files
FINDING_PLUGINS = {"core.plugins.registry"}  # names the built-in ones
MOST_FILES = 13  # of a folder, its __init__.py apart


class Import(NamedTuple):
    """One imported module; ``late`` if inside a function, ``typing`` if only type checkers see it."""

    name: str
    late: bool
    typing: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}
FUNCTIONS = {f"{name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1 for name, tree in TREES.items()
             for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@functools.cache
def imports(module: str) -> list[Import]:
    return list(walk(TREES[module], module, late=False, typing=False))


def walk(node: ast.AST, module: str, *, late: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from (Import(name, late, typing) for name in imported(child, module))
        else:
            checking = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            function = isinstance(child, ast.FunctionDef | ast.Lambda)
            yield from walk(child, module, late=late or function, typing=typing or checking)


def imported(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    """Return full names of modules, ours without ``dlcompare.``; ``from a import b`` is a.b where that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name.removeprefix("dlcompare.") for alias in node.names]
    base = (node.module or "").removeprefix("dlcompare.")
    if node.level:
        package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
        base = ".".join([*package[:len(package) - node.level + 1], *filter(None, [node.module])])
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base for alias in node.names]


def ours(module: str) -> set[str]:
    return {i.name for i in imports(module) if i.name.partition(".")[0] in FOLDERS} - {module}


def of(folder: str) -> list[str]:
    return [name for name in SOURCES if name == folder or name.startswith(f"{folder}.")]


def package(module: str) -> str:
    """Return the longest name of LAYERS that a module is, or lies in."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next(name for name in names if name in PLACE)


def test_packages_import_downwards() -> None:
    own = {module: package(module) for module in SOURCES}
    upwards = {module: found for module in SOURCES if (found := {
        name for name in ours(module) if package(name) != own[module] and PLACE[package(name)] >= PLACE[own[module]]})}
    assert not upwards, f"LAYERS puts what these import no lower than they are: {upwards}"


def test_every_package_has_one_place_in_the_layers() -> None:
    named = [name for names in LAYERS for name in names]
    assert len(named) == len(set(named)) and set(named) <= SOURCES.keys()
    lone = {name for name in SOURCES if SOURCES[name].name == "__init__.py" and name.count(".") == 1
            and name.partition(".")[0] in ("core", "inference")} - set(named)
    assert not lone, f"no line of LAYERS names {lone}"


def circles(graph: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """Return the sets of more than one node of which each leads to all others."""
    def beyond(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            new = set(graph.get(todo.pop(), ())) - seen
            seen |= new
            todo += new
        return seen

    reach = {name: beyond(name) for name in graph}
    found = {frozenset(other for other in reach[name] if name in reach.get(other, ())) | {name} for name in graph}
    return [set(one) for one in found if len(one) > 1]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circles({name: ours(name) & SOURCES.keys() for name in SOURCES})


def test_circles_are_found() -> None:
    assert circles({"a": "b", "b": "c", "c": "a", "d": "a", "e": ""}) == [{"a", "b", "c"}]


def home(module: str) -> str | None:
    """Return the plug-in that a module is part of: a folder of frameworks or of inference's engines, or all models."""
    for parent in CONTRACTS:
        if module == parent or module.startswith(f"{parent}."):
            inner = module.removeprefix(parent).split(".")
            return parent if parent == "models" else ".".join([parent, *inner[1:2]])
    return None


def strange(module: str) -> set[str]:
    """Return what a plug-in's module imports besides contracts and its own folder."""
    own = str(home(module))
    allowed = next(names for parent, names in CONTRACTS.items() if own.startswith(parent))
    return {n for n in ours(module) - allowed if n != own and not n.startswith(f"{own}.")}


def test_plugins_import_contracts_and_their_own_folder() -> None:
    assert not {module: found for module in SOURCES if home(module) and (found := strange(module))}


def test_plugins_are_named_nowhere_but_where_they_are_found() -> None:
    for module in SOURCES:
        strings = [str(n.value) for n in ast.walk(TREES[module]) if isinstance(n, ast.Constant)]
        named = [s for s in strings if s.startswith(tuple(f"dlcompare.{folder}" for folder in CONTRACTS))]
        assert bool(named) == (module in FINDING_PLUGINS)
        assert home(module) or not {name for name in ours(module) if home(name)}, f"{module} imports a plug-in"


def test_modules_are_imported_by_name_in_few_places() -> None:
    found = {module for module, tree in TREES.items() for n in ast.walk(tree)
             if isinstance(n, ast.Attribute | ast.Name) and ast.unparse(n).endswith(("import_module", "__import__"))}
    assert found == IMPORTING_BY_NAME


def inside(module: str) -> bool:
    """Return whether a module is the inside of a framework's plugin: any of its folder but the one it is entered by."""
    return module.startswith("frameworks.") and module.count(".") == 2


def test_frameworks_are_imported_only_inside_their_plugins() -> None:
    assert not [(module, i.name) for module in SOURCES if not inside(module) for i in imports(module)
                if i.name.partition(".")[0] in FRAMEWORKS]


def test_the_outside_of_a_plugin_enters_its_inside_late() -> None:
    early = [(module, i.name) for module in of("frameworks") if not inside(module) for i in imports(module)
             if not i.late and not i.typing]
    assert not [pair for pair in early if pair[1].startswith(f"{pair[0]}.") or pair[1].partition(".")[0] == "numpy"]


KINDS = [name for name, tree in TREES.items() for node in tree.body
         if isinstance(node, ast.FunctionDef) and node.name == "dlcompare_kinds" and node.decorator_list
         and ast.unparse(node.decorator_list[0]) == "hookimpl"]


@pytest.mark.parametrize("module", KINDS)
def test_a_kind_has_the_files_that_every_kind_has_and_enters_them_late(module: str) -> None:
    own = {name.removeprefix(f"{module}.") for name in of(module)}
    assert {"request", "worker", "result", "folding", "report"} <= own
    early = {i.name.removeprefix(f"{module}.") for i in imports(module) if not i.late and not i.typing}
    assert not early & {"worker", "result", "folding", "report"}


def test_the_walk_sees_what_it_should() -> None:
    """The rules above hold for a reason, not because the walk sees nothing."""
    assert Import("torch", late=False, typing=False) in imports("frameworks.pytorch.trainer")
    assert Import("frameworks.pytorch.trainer", late=True, typing=False) in imports("frameworks.pytorch")
    assert Import("core.plugins.backend", late=False, typing=True) in imports("frameworks.reference")
    assert {"core", "core.graph", "core.errors"} <= set().union(*map(ours, of("frameworks")))
    assert "core.kinds.training" in KINDS and "core.kinds.kind" not in KINDS
    assert [package(name) for name in ("core.files", "core.kinds.kind", "core.kinds.training.loop", "models.vgg")] == [
        "core", "core.kinds.kind", "core.kinds.training", "models"]


HEAVY = FRAMEWORKS | {"numpy", "PIL", "psutil", "safetensors", "onnx", "onnxruntime", "openvino", "tensorrt"}
START = """
import atexit, sys
atexit.register(lambda: print("HEAVY", *(sys.modules.keys() & set({heavy!r})), file=sys.stderr))
from dlcompare.core.cli.main import main
sys.argv = ["dlcompare", {argument!r}]
main()
"""


@pytest.mark.parametrize("argument, word", [("--help", "--framework"), ("list", "resnet50")])
def test_the_command_line_starts_without_anything_heavy(argument: str, word: str) -> None:
    code = START.format(heavy=sorted(HEAVY), argument=argument)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert word in done.stdout and done.stderr.splitlines()[-1] == "HEAVY"


BARE = "import importlib.metadata, pluggy, rich_click"  # what we start on, and can do nothing about
BARE_SECONDS = 0.07  # that takes where nobody else is at work; others in the same caches make all grow alike


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["--help", "list"])
def test_the_command_line_answers_within_a_fifth_of_a_second(argument: str) -> None:
    """Of processor time, on a quiet machine: others in the same caches make all slower, so what we start on as well."""
    taken = [(seconds("-c", BARE), seconds("-m", "dlcompare.core", argument)) for _ in range(6)][1:]  # first: compiled
    bare, whole = (statistics.median(column) for column in zip(*taken, strict=True))
    assert whole * min(1.0, BARE_SECONDS / bare) < 0.2, f"{whole:.3f} s, of which {bare:.3f} s for what it stands on"


def seconds(*argv: str) -> float:
    """Return the processor time that an interpreter takes, which may keep what it compiles."""
    def used() -> float:
        found = resource.getrusage(resource.RUSAGE_CHILDREN)
        return found.ru_utime + found.ru_stime

    begin = used()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *argv], stdout=subprocess.DEVNULL, check=True, env=variables)
    return used() - begin


def test_functions_are_short() -> None:
    assert not {name: lines for name, lines in FUNCTIONS.items() if lines > 45}
    lengths = list(FUNCTIONS.values())
    assert statistics.median(lengths) <= 8 and statistics.quantiles(lengths, n=10)[-1] <= 25


def test_files_are_short_and_folders_small() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert not {name: count for name, count in lines.items() if count > 300}
    files = Counter(path.parent.relative_to(ROOT) for path in SOURCES.values() if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in files.items() if count > MOST_FILES}


def test_every_package_says_what_it_is_for() -> None:
    folders = {path.parent for path in SOURCES.values()}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
    assert not [name for name, path in SOURCES.items() if path.name == "__init__.py"
                and not ast.get_docstring(TREES[name])]
