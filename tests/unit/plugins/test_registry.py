"""Plugins from outside: found by their entry point, listed, run in a worker; a broken one harms nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from dlcompare.core.errors import PluginError, UsageError
from dlcompare.core.plugins.registry import BUILTIN, Plugins, plugins
from dlcompare.core.variables import PLUGINS

TINY = Path(tiny.__file__).read_text()
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def install(site: Path, module: str, code: str) -> None:
    """Lay a distribution out as pip would: one module, and metadata that names it."""
    path = site.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dlcompare]\n{module} = {module}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def dlcompare(tmp_path: Path, site: Path) -> Command:
    """Run the command line in a process that has the distributions of ``site``."""

    def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
        own = {"PYTHONPATH": path, "DLCOMPARE_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}
        kept = {k: v for k, v in os.environ.items() if k != PLUGINS}
        return subprocess.run([sys.executable, "-m", "dlcompare.core", *args], cwd=tmp_path, text=True, timeout=120,
                              env={**kept, **own, **variables}, capture_output=True, check=False)

    return run


def test_what_a_plugin_offers_is_listed(site: Path, dlcompare: Command) -> None:
    install(site, "strange_tiny", TINY)
    done = dlcompare("list")
    assert done.returncode == 0, done.stderr
    for name in ("tiny-numpy", "tiny-residual", "stripes", "resnet50"):
        assert name in done.stdout
    assert "could not be loaded" not in done.stdout


BROKEN = {
    "import_fails": ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    "leaves": ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    "misspelt": ("from dlcompare.core import hookimpl\n@hookimpl\ndef dlcompare_modles():\n    return []",
                 "unknown hook 'dlcompare_modles'"),
    "asks_too_much": ("from dlcompare.core import hookimpl\n@hookimpl\ndef dlcompare_models(size):\n    return []",
                      "PluginValidationError"),
    "raises": ("from dlcompare.core import hookimpl\n@hookimpl\ndef dlcompare_models():\n    return [1 / 0]",
               "ZeroDivisionError: division by zero"),
    "wrong_kind": ("from dlcompare.core import hookimpl\n@hookimpl\ndef dlcompare_models():\n    return ['resnet']",
                   "must return a list of named Model objects, not of 'resnet'"),
}


def test_broken_plugins_are_shown_with_their_errors_and_break_nothing(site: Path, dlcompare: Command) -> None:
    for name, (code, _) in BROKEN.items():
        install(site, f"broken_{name}", code)
    install(site, "strange_tiny", TINY)
    done = dlcompare("list")
    assert done.returncode == 0 and not done.stderr
    good, bad = done.stdout.split("Plugins that could not be loaded")
    assert "tiny-numpy" in good and "pytorch-ddp" in good
    for name, (_, error) in BROKEN.items():
        (line,) = [line for line in bad.splitlines() if f"broken_{name} " in line]
        assert error in line


def test_an_unknown_name_tells_what_exists_and_which_plugins_are_broken(site: Path, dlcompare: Command) -> None:
    install(site, "strange_tiny", TINY)
    install(site, "broken_one", "import nowhere_to_be_found")
    done = dlcompare("--framework", "tiny-nunpy", "--model", "resnet18")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    told = " ".join(done.stderr.split())
    assert "unknown framework 'tiny-nunpy'" in told and "Did you mean 'tiny-numpy'?" in told
    assert "broken_one (ModuleNotFoundError" in told


def test_two_plugins_of_one_name_are_an_error_that_names_both(site: Path, dlcompare: Command) -> None:
    install(site, "strange_tiny", TINY)
    install(site, "second_tiny", TINY)
    for args in (["list"], ["--framework", "tiny-numpy", "--model", "resnet18"]):
        done = dlcompare(*args)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "two plugins offer the" in done.stderr
        assert "strange_tiny" in done.stderr and "second_tiny" in done.stderr


def test_a_variable_names_the_plugins_to_load(site: Path, dlcompare: Command) -> None:
    install(site, "strange_tiny", TINY)
    install(site, "second_tiny", TINY)
    alone, none = dlcompare("list", **{PLUGINS: "second_tiny"}), dlcompare("list", **{PLUGINS: ""})
    assert alone.returncode == none.returncode == 0
    assert "tiny-numpy" in alone.stdout and "tiny-numpy" not in none.stdout


@pytest.mark.slow
def test_a_plugin_reaches_the_worker_is_verified_and_trains(site: Path, dlcompare: Command, tmp_path: Path) -> None:
    """Its folder has no ``__init__.py``, so that the worker needs the namespace package ``strange`` as well."""
    install(site, "strange.tiny", TINY)
    job = ["--framework", "tiny-numpy", "--model", "tiny-residual", "--batch", "4", "--threads", "1"]
    verified = dlcompare("verify", *job, "--image-size", "16", "--check-workers", "1", "--format", "json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (outcome,) = json.loads(verified.stdout)
    assert outcome["passed"] and outcome["checks"] > 300
    done = dlcompare(*job, "--data", "stripes", "--windows", "2", "--steps", "1", "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = json.loads(done.stdout)
    assert record["status"] == "ok" and record["framework"] == "tiny-numpy" and record["dataset"] == "stripes"
    assert len(record["windows"]) == 2 and record["throughput"]["value"] > 0
    assert record["verified"]["passed"]
    (view,) = (tmp_path / "cache" / "views").iterdir()
    assert {path.name for path in view.iterdir()} == {"dlcompare", "strange"}


# In this process, without installing anything.

@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugins]:
    """Return the plugins there are when these modules, given as code, are installed."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(**modules: str) -> Plugins:
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
            monkeypatch.delitem(sys.modules, name, raising=False)
        return Plugins((*BUILTIN, *modules))

    return load


def test_the_built_in_plugins_load_and_are_not_external() -> None:
    found = Plugins(BUILTIN)
    assert not found.broken and not found.external() and not found.roots()
    assert {"reference", "pytorch-ddp", "pytorch-dp", "tf-horovod", "jax", "jax-local",
            "mxnet", "mxnet-horovod"} == found.backends().keys()


def test_an_external_plugin_is_named_and_placed(loaded: Callable[..., Plugins], tmp_path: Path) -> None:
    found = loaded(other_tiny=TINY)
    assert found.external() == ("other_tiny",) and found.roots() == (tmp_path / "other_tiny.py",)
    assert found.backend("tiny-numpy").title == "NumPy, for the tests"
    assert found.model("tiny-residual").task == "classification"
    kind, argument = found.dataset("stripes:some/where:else")
    assert (kind.name, argument) == ("stripes", "some/where:else")


@pytest.mark.parametrize(("module", "root"), [
    ("strange/__init__.py", "strange"), ("strange.py", "strange.py"), ("strange/plugin.py", "strange"),
    ("strange/deep/__init__.py", "strange"), ("strange/deep/plugin.py", "strange"),
])
def test_the_root_of_a_plugin_is_its_outermost_package(loaded: Callable[..., Plugins], module: str, root: str,
                                                       tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    name = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for known in [k for k in sys.modules if k.partition(".")[0] == "strange"]:
        monkeypatch.delitem(sys.modules, known)
    assert Plugins((name,)).roots() == (tmp_path / root,)


def test_two_plugins_in_one_package_have_one_root(loaded: Callable[..., Plugins], tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    for name in ("one", "two"):
        (tmp_path / "shared" / f"{name}.py").write_text("")
    found = Plugins(("shared.one", "shared.two"))
    assert found.external() == ("shared.one", "shared.two") and found.roots() == (tmp_path / "shared",)


def test_an_empty_module_is_a_plugin_that_offers_nothing(loaded: Callable[..., Plugins]) -> None:
    assert not loaded(empty_plugin="").broken


def test_two_offers_of_one_name_in_one_plugin_are_an_error_too(loaded: Callable[..., Plugins]) -> None:
    found = loaded(twice=TINY.replace("return [TinyNumpy()]", "return [TinyNumpy(), TinyNumpy()]"))
    assert found.models() and not found.broken
    with pytest.raises(PluginError, match="framework 'tiny-numpy': twice and twice"):
        found.backends()


@pytest.mark.parametrize(("kind", "wrong", "near"), [
    ("backend", "tf-horovd", "tf-horovod"), ("model", "resnet-50", "resnet50"), ("dataset", "digit", "digits"),
])
def test_an_unknown_name_is_answered_with_the_nearest(kind: str, wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"'{wrong}'; there is: .*Did you mean '{near}'"):
        getattr(plugins(), kind)(wrong)


def test_a_broken_plugin_leaves_no_hooks_behind(loaded: Callable[..., Plugins]) -> None:
    code = TINY + "\n\n@hookimpl\ndef dlcompare_nothing() -> list[int]:\n    return []\n"
    found = loaded(half=code, whole=TINY)
    assert [b.name for b in found.broken] == ["half"]
    assert found.external() == ("whole",) and "tiny-numpy" in found.backends()


def test_the_tiny_plugin_needs_no_numpy_to_be_asked() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(tiny.__file__).parent)!r}); import tiny; " \
           "tiny.dlcompare_models(); tiny.dlcompare_backends(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
