"""What ``pip install .`` installs is all that the repository has, and every kind of command works from it.

An editable install, which developers and all other tests use, reads the repository itself and shows nothing of this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from running import PLUGINS

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "frameworks", "models", "inference")
PROGRAM = "dlcompare/__main__.py"
JOB = ("--framework", "reference", "--model", "tiny-residual", "--batch", "2")
TINY = (*JOB, "--data", "stripes")
Command = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files are git's to list")]


def kept(*folders: str) -> list[str]:
    """Return the files of the repository, new ones too, but none that git ignores."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy: a ``build`` folder beside the sources would hold what earlier builds left."""
    home = tmp_path_factory.mktemp("wheel")
    for name in kept(*FOLDERS, PROGRAM, "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (home / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, home / "source" / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home), str(home / "source"))
    (made,) = home.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder with what pip makes of the wheel, and nothing else."""
    pip("install", "--no-deps", "--no-index", "--target", str(wheel.parent / "site"), str(wheel))
    return wheel.parent / "site"


def pip(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def dlcompare(installed: Path, tmp_path: Path) -> Command:
    """Run the installed command line, with the dependencies of this interpreter and the tests' tiny plugin."""
    own = {"PYTHONPATH": os.pathsep.join(map(str, (installed, PLUGINS))), "DLCOMPARE_PLUGINS": "tiny",
           "DLCOMPARE_CACHE": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": ""}

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, "-m", "dlcompare", *words], cwd=tmp_path, env={**os.environ, **own},
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done

    return run


def test_a_wheel_has_every_file_of_the_repository_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {PROGRAM, *(f"dlcompare/{name}" for name in kept(*FOLDERS))}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_runs_what_a_user_installs(tmp_path: Path) -> None:
    planned = subprocess.run(["make", "--dry-run", f"VENV={tmp_path}/venv", "demo"], cwd=ROOT, capture_output=True,
                             text=True, check=True).stdout
    (install,) = [line for line in planned.splitlines() if "pip install" in line]
    assert install.split()[-1] == "." and "-e" not in install.split()


def test_what_is_tried_here_is_the_installed_copy(installed: Path, dlcompare: Command) -> None:
    code = "import dlcompare.core.graph, dlcompare.models as m; print(dlcompare.core.graph.__file__, m.__file__)"
    path = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True).stdout
    assert [Path(name).is_relative_to(installed) for name in found.split()] == [True, True]


def test_what_there_is_can_be_listed_and_shown(dlcompare: Command) -> None:
    assert "tiny-residual" in dlcompare("list").stdout
    assert "25,557,032" in dlcompare("show", "resnet50").stdout
    assert "onnxruntime" in dlcompare("env", "list").stdout


def test_a_comparison_runs_and_is_reported(dlcompare: Command) -> None:
    small = ("--framework", "reference", "--model", "resnet18", "--image-size", "32", "--batch", "2")
    (record,) = json.loads(dlcompare(*small, "--windows", "2", "--steps", "1", "--format", "json").stdout)
    assert record["status"] == "ok"
    for command in ("report", "compare"):
        assert "reference" in dlcompare(command, f"runs/{record['run']}").stdout


def test_a_framework_is_verified(dlcompare: Command) -> None:
    (outcome,) = json.loads(dlcompare("verify", *JOB, "--image-size", "16", "--check-workers", "1", "--format",
                                      "json").stdout)
    assert outcome["passed"]


def test_an_engine_infers_and_is_reported(dlcompare: Command, tmp_path: Path) -> None:
    words = ("--model", "tiny-residual", "--data", "stripes", "--engine", "reference", "--precision", "fp32", "--batch",
             "2", "--windows", "1", "--window-seconds", "0.1", "--samples", "4")
    assert "reference" in dlcompare("infer", *words).stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert "reference" in dlcompare("report", str(run)).stdout


def test_compiling_alone_is_refused_by_who_cannot(dlcompare: Command) -> None:
    assert "needs --topology" in dlcompare(*TINY, "--compile-only", code=2).stderr
    assert "cannot compile" in dlcompare(*TINY, "--device", "cpu", "--topology", "v3:2x2", code=1).stdout
