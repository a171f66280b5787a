"""What tests of both kinds share: the command line in a process of its own, and its processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import PLUGINS, Command


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Return a function that starts ``dlcompare WORDS``; variables of its environment are keyword arguments."""
    started: list[Command] = []

    def begin(*words: str, prefix: tuple[str, ...] = (), **variables: str) -> Command:
        started.append(Command(*words, out=tmp_path / "runs", variables=variables, prefix=prefix))
        return started[-1]

    yield begin
    for command in started:
        command.end()


@pytest.fixture
def start_slow(start: Callable[..., Command]) -> Callable[..., Command]:
    """Return ``start`` with the tests' slow and misbehaving backends on offer."""
    def begin(*words: str, **options: str) -> Command:
        return start(*words, **{"PYTHONPATH": str(PLUGINS), "DLCOMPARE_PLUGINS": "slow", **options})

    return begin
