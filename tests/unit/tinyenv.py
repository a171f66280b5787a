"""A cache folder, a lock file and packages that take seconds to install, with pip cut off from any index."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlcompare.core.plugins.runtime import Build, EnvironmentSpec

NOW = (sys.version_info[0], sys.version_info[1])

# A build backend of its own needs no setuptools; what it makes holds the variable, and every build is counted.
BUILD_BACKEND = """
import os, pathlib, zipfile
def build_wheel(folder, config=None, metadata=None):
    with open(os.environ["BUILDS"], "a") as builds:
        builds.write("built\\n")
    with open(os.environ.get("WRITES", os.devnull), "w") as file:
        file.write("x" * 100000)
    name = "compiled-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("compiled.py", f"flavour = {os.environ['FLAVOUR']!r}")
        wheel.writestr("compiled-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: compiled\\nVersion: 1.0\\n")
        wheel.writestr("compiled-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("compiled-1.0.dist-info/RECORD", "")
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"


def write_wheel(folder: Path, name: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "version = '1.0'")
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.format(name))
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


def write_sdist(folder: Path, name: str) -> None:
    files = {"pyproject.toml": PYPROJECT, "backend.py": BUILD_BACKEND, "PKG-INFO": METADATA.format(name)}
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for file, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{file}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


def furnish(home: Path) -> None:
    """Put ``tiny.lock`` and what pip may install into a folder."""
    (home / "packages").mkdir()
    write_wheel(home / "packages", "tiny")
    write_sdist(home / "packages", "compiled")
    (home / "tiny.lock").write_text("# what the tiny framework needs\n\ntiny==1.0\n")


def led(home: Path) -> Iterator[Path]:
    """Yield the folder, with pip's and our variables leading into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLCOMPARE_CACHE", str(home / "cache"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(home / "packages"))
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("BUILDS", str(home / "builds"))
        patch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        yield home


def tiny(home: Path) -> EnvironmentSpec:
    return EnvironmentSpec(home / "tiny.lock", (NOW, NOW), "import tiny; print(tiny.version)")


def compiling(spec: EnvironmentSpec, flavour: str = "sweet") -> EnvironmentSpec:
    build = Build("compiled==1.0", {"FLAVOUR": flavour}, tools=("env",))
    return replace(spec, check="import tiny, compiled; print(compiled.flavour)", builds=(build,))


def traces(home: Path, name: str) -> list[str]:
    """What the cache holds of a backend's environments, finished or not."""
    return sorted(path.name for path in (home / "cache" / "envs").glob(f"{name}-*"))
