"""The program where a shell's variables would break it, and from a folder with modules of famous names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("numpy", "pluggy", "click", "rich_click", "json", "psutil", "onnx")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a folder with broken modules that have the names of packages we need."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('broken')\n")
    return tmp_path


@pytest.mark.parametrize("program", [("-m", "dlcompare"), ("-m", "dlcompare.core"), ()])
def test_broken_packages_and_switches_of_python_do_not_reach_it(broken: Path, program: tuple[str, ...]) -> None:
    check_untouched(broken, program, str(broken))


@pytest.mark.parametrize("places", [".", "/nowhere:", "../{name}/", "{folder}/"])
def test_however_a_folder_is_written(broken: Path, places: str) -> None:
    check_untouched(broken, (), places.format(name=broken.name, folder=broken))


def check_untouched(broken: Path, program: tuple[str, ...], places: str) -> None:
    argv = [sys.executable, *program] if program else [str(Path(sys.executable).with_name("dlcompare"))]
    switches = {"PYTHONPATH": places, "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    done = subprocess.run([*argv, "show", "bert-tiny"], env={**os.environ, **switches}, cwd=broken, timeout=60,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "parameters" in done.stdout and done.stderr == ""


def test_what_a_switch_would_do_to_children_is_kept_from_them(broken: Path) -> None:
    code = ("from dlcompare.core.isolation import isolate; isolate(); import os; "
            "print([n for n in os.environ if n.startswith('PYTHON')])")
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(broken),
                          "PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
