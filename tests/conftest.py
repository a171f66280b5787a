"""What tests of both kinds share: the command line in a process of its own, and its processes."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import SLOW, Command, offering

# A script's background jobs ignore Ctrl-C, and so would every program that a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Return a function that starts ``dlcompare WORDS``; variables of its environment are keyword arguments."""
    started: list[Command] = []

    def begin(*words: str, prefix: tuple[str, ...] = (), out: Path = tmp_path / "runs", **variables: str) -> Command:
        started.append(Command(*words, out=out, folder=tmp_path, variables=variables, prefix=prefix))
        return started[-1]

    yield begin
    for command in started:
        command.end()


@pytest.fixture
def start_slow(start: Callable[..., Command], tmp_path: Path) -> Callable[..., Command]:
    """Return ``start`` for two steps a job on the tests' own tiny network and misbehaving backends, which are not
    verified unless ``--verify`` says so.
    """
    variables = {**offering(*SLOW), "DLCOMPARE_CACHE": str(tmp_path / "cache")}

    def begin(*words: str, **options: str) -> Command:
        usual = {"--model": "speck", "--device": "cpu", "--batch": "2", "--steps": "1", "--windows": "2"}
        light = [word for pair in usual.items() if pair[0] not in words for word in pair]  # given twice is a sweep
        unproved = () if "--verify" in words else ("--verify", "off")
        return start(*light, *unproved, *words, **{**variables, **options})

    return begin
