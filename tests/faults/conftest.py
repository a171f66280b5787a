"""A tiny job of two workers under every framework, to be disturbed, and what must hold of it then.

A test that names ``framework`` runs under every framework that takes two workers, in its real environment; it carries
the marker ``slow``. One that needs a job only, whoever runs it, takes ``start_slow`` and the tests' own backends.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from environments import environment  # noqa: F401
from faulty import FRAMEWORKS, LIGHT
from running import SLOW, Command, offering


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest, environment: Callable[[str], Path]) -> str:  # noqa: F811
    """Return the name of each framework in turn."""
    environment(request.param)
    return request.param


@pytest.fixture
def train(start: Callable[..., Command]) -> Callable[..., Command]:
    """Return a function that starts ``dlcompare WORDS`` on two workers and a tiny network."""
    def begin(*words: str, **more: str) -> Command:
        pairs = zip(LIGHT[::2], LIGHT[1::2], strict=True)
        light = [word for pair in pairs if pair[0] not in words for word in pair]  # given twice is a sweep
        return start(*light, *words, **{**offering(*SLOW), **more})

    return begin
