"""A home that all files of tests share, and an environment that the first to want it makes there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tinyenv import compiling, furnish, led, tiny

from dlcompare.core.environments import resolve
from dlcompare.core.plugins.runtime import EnvironmentSpec


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    furnish(folder := tmp_path_factory.mktemp("home"))
    return folder


@pytest.fixture(scope="module")
def home(furnished: Path) -> Iterator[Path]:
    yield from led(furnished)


@pytest.fixture(scope="module")
def spec(home: Path) -> EnvironmentSpec:
    return tiny(home)


@pytest.fixture(scope="module")
def ready(spec: EnvironmentSpec) -> Path:
    """The interpreter of a ready environment with a compiled package."""
    return resolve.create("ready", "cpu", compiling(spec), lambda line: None)
