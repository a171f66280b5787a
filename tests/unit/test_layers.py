"""Imports point one way, frameworks stay inside their plugins, the command line starts light, and code stays short."""

from __future__ import annotations

import ast
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "frameworks", "models", "inference")

# A module of core may import those of earlier lines alone; a new one is written on the first line where it fits.
LAYERS = [line.split() for line in """
    core
    energy errors graph host roofline stats system
    job ops cost memory variants torchfile data data.fit data.loaders data.outlines data.streams
    model params backend inference_job options record progress tether
    discard verdict engine
    framework_engine
    autopsy crew data.builtin data.decode data.digits data.feed data.imagefolder data.order data.shapes data.synthetic
    accuracy cases cold fold waterfall windows
    target
    hookspecs interpreters reports reports.anatomy reports.as_csv reports.as_json reports.results
    plugins envbuild reports.coldstart reports.explained reports.ledger
    conformance envstore launch reports.compared_data reports.listing reports.table
    envs plan reports.compared view worker
    certificate reports.environments rounds
    session
    compilation explain verification
    reports.compiled reports.verified
    cli
    __main__
""".strip().splitlines()]

CONTRACTS = {  # what the modules of a folder may import of core; besides that, their own folder
    "models": {"core", "core.graph", "core.ops", "core.model"},
    "frameworks": {"core", "core.backend", "core.crew", "core.errors", "core.graph", "core.job", "core.ops",
                   "core.tether", "frameworks.horovod"},  # the last is no plug-in: two of them share it
    "inference": {"core", "core.backend", "core.engine", "core.errors", "core.graph", "core.inference_job", "core.job",
                  "core.plugins"},
}
DOORS = {("core.cli", "inference.command")}  # where core lets a command of another folder in
FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "horovod", "jax", "jaxlib", "flax", "mxnet"}
IMPORTING_BY_NAME = {"core.plugins", "core.data.builtin", "core.reports"}


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
    return [name for name in SOURCES if name.partition(".")[0] == folder]


def layer(module: str) -> int:
    short = module.removeprefix("core.")
    found = [number for number, names in enumerate(LAYERS) if short in names]
    assert found, f"{module} is on no line of LAYERS; write it on the first line after all that it imports"
    return found[0]


@pytest.mark.parametrize("module", of("core"))
def test_core_imports_downwards(module: str) -> None:
    upwards = {name for name in ours(module) if (module, name) not in DOORS
               and (name.partition(".")[0] != "core" or layer(name) >= layer(module))}
    assert not upwards, f"{module} imports {upwards}"


def test_every_module_in_the_layers_exists() -> None:
    named = [name for names in LAYERS for name in names]
    assert len(named) == len(set(named))
    assert {f"core.{name}" if name != "core" else name for name in named} == set(of("core"))


def is_plugin(module: str) -> bool:
    """Return whether a module is part of a plug-in: inference, beside its engines, has what they all share."""
    folder, *rest = module.split(".")
    return folder != "inference" or (bool(rest) and (ROOT / folder / rest[0]).is_dir())


@pytest.mark.parametrize("module", [name for name in of("inference") if not is_plugin(name)])
def test_what_engines_share_knows_core_but_not_them(module: str) -> None:
    strange = {name for name in ours(module) if is_plugin(name) and name.partition(".")[0] != "core"}
    assert not strange | (ours(module) & {"core.cli", "core.__main__"})


@pytest.mark.parametrize("module", [name for folder in CONTRACTS for name in of(folder) if is_plugin(name)])
def test_plugins_import_contracts_and_their_own_folder(module: str) -> None:
    folder, *rest = module.split(".")
    home = ".".join([folder, *rest[:1]]) if folder != "models" else folder
    strange = {n for n in ours(module) - CONTRACTS[folder] if n != home and not n.startswith(f"{home}.")}
    assert not strange, f"{module} imports {strange}"


def test_plugins_are_named_nowhere_but_where_they_are_found() -> None:
    for module in of("core"):
        strings = [str(n.value) for n in ast.walk(TREES[module]) if isinstance(n, ast.Constant)]
        named = [s for s in strings if s.startswith(tuple(f"dlcompare.{folder}" for folder in CONTRACTS))]
        assert bool(named) == (module in ("core.plugins", "core.inference_job"))  # finds them; names their worker


def test_modules_are_imported_by_name_in_few_places() -> None:
    found = {module for module, tree in TREES.items() for n in ast.walk(tree)
             if isinstance(n, ast.Attribute | ast.Name) and ast.unparse(n).endswith(("import_module", "__import__"))}
    assert found == IMPORTING_BY_NAME


def inside(module: str) -> bool:
    """Return whether a module is the inside of a plugin: any of its folder but the one it is entered by."""
    return module.startswith("frameworks.") and module.count(".") == 2


@pytest.mark.parametrize("module", [name for name in SOURCES if not inside(name)])
def test_frameworks_are_imported_only_inside_their_plugins(module: str) -> None:
    assert not {i.name for i in imports(module) if i.name.partition(".")[0] in FRAMEWORKS}


@pytest.mark.parametrize("module", [name for name in of("frameworks") if not inside(name)])
def test_the_outside_of_a_plugin_enters_its_inside_late(module: str) -> None:
    early = [i.name for i in imports(module) if not i.late and not i.typing]
    assert not [name for name in early if name.startswith(f"{module}.") or name.partition(".")[0] == "numpy"]


def test_the_walk_sees_what_it_should() -> None:
    """The rules above hold for a reason, not because the walk sees nothing."""
    assert Import("torch", late=False, typing=False) in imports("frameworks.pytorch.trainer")
    assert Import("frameworks.pytorch.trainer", late=True, typing=False) in imports("frameworks.pytorch")
    assert Import("core.backend", late=False, typing=True) in imports("frameworks.reference")
    assert {"core", "core.graph", "core.errors"} <= set().union(*map(ours, of("frameworks")))
    assert layer("core.graph") < layer("core.ops") < layer("core.plugins") < layer("core.plan") < layer("core.cli")


HEAVY = FRAMEWORKS | {"numpy", "PIL", "psutil", "safetensors"}
START = """
import atexit, sys
atexit.register(lambda: print("HEAVY", *(sys.modules.keys() & set({heavy!r})), file=sys.stderr))
from dlcompare.core.cli.main import main
sys.argv = ["dlcompare", {argument!r}]
main()
"""


@pytest.mark.parametrize("argument", ["--help", "list"])
def test_the_command_line_starts_without_anything_heavy(argument: str) -> None:
    code = START.format(heavy=sorted(HEAVY), argument=argument)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "resnet50" in done.stdout and done.stderr.splitlines()[-1] == "HEAVY"


@pytest.mark.parametrize("argument", ["--help", "list"])
def test_the_command_line_answers_within_half_a_second(argument: str) -> None:
    """Wall time; where more wants to run than there are cores, processor time, for the rest is the others'."""
    busy = os.getloadavg()[0] > len(os.sched_getaffinity(0)) / 2
    seconds = statistics.median(answer(argument, busy=busy) for _ in range(3))
    assert seconds < 0.5, "of processor time" if busy else "of wall time"


def answer(argument: str, *, busy: bool) -> float:
    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime if busy else time.perf_counter()

    begin = now()
    subprocess.run([sys.executable, "-m", "dlcompare.core", argument], stdout=subprocess.DEVNULL, check=True)
    return now() - begin


def test_functions_are_short() -> None:
    found = [((node.end_lineno or 0) - node.lineno + 1, f"{module}.{node.name}") for module, tree in TREES.items()
             for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not [(lines, name) for lines, name in found if lines > 45]
    lengths = [lines for lines, _ in found]
    assert statistics.median(lengths) <= 10 and statistics.quantiles(lengths, n=10)[-1] <= 25


def test_files_are_short() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert not {name: count for name, count in lines.items() if count > 300}
