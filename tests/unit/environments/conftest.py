"""A home of its own for each file of tests, and an environment made there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tinyenv import compiling, prepared, tiny

from dlcompare.core.environments import resolve
from dlcompare.core.plugins.runtime import EnvironmentSpec


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from prepared(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def spec(home: Path) -> EnvironmentSpec:
    return tiny(home)


@pytest.fixture(scope="module")
def ready(spec: EnvironmentSpec) -> Path:
    """The interpreter of a ready environment with a compiled package."""
    return resolve.create("ready", "cpu", compiling(spec), lambda line: None)
