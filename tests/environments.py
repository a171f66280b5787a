"""Environments of the frameworks, made on demand where the command line would make them too; for a conftest."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from dlcompare.core.environments import resolve
from dlcompare.core.errors import EnvironmentUnavailable
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.registry import plugins


@pytest.fixture(scope="session")
def environment() -> Callable[[str], Path]:
    """Return a function from a backend's name to the Python that runs it on CPUs; skips where there can be none."""
    return interpreters(plugins().backend)


@pytest.fixture(scope="session")
def engine_environment() -> Callable[[str], Path]:
    """Return the same of engines."""
    return interpreters(plugins().engine)


def interpreters(find: Callable[[str], Backend | Engine]) -> Callable[[str], Path]:
    @cache
    def python(name: str) -> Path:
        try:
            return resolve.resolve(None, find(name), "cpu", print)
        except EnvironmentUnavailable as error:
            pytest.skip(str(error))

    return python
