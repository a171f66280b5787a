"""Frameworks side by side: their windows alternate, and whichever waits uses next to no processor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Command


@pytest.mark.slow
def test_two_frameworks_wait_idle_for_their_turn(environment: Callable[[str], Path],
                                                 start: Callable[..., Command]) -> None:
    for name in ("pytorch-ddp", "jax"):
        environment(name)
    command = start("--framework", "pytorch-ddp,jax", "--model", "resnet18", "--image-size", "32", "--device", "cpu",
                    "--batch", "8", "--rounds", "2", "--windows", "2", "--verify", "off")
    assert command.wait(240) == 0, command.told
    found = json.loads((command.runs[-1] / "records.json").read_text())
    assert {one["status"] for one in found} == {"ok"} and len({one["turns"] for one in found}) == 2
    waiting = [window["waiting_cores"] for one in found for window in one["windows"]]
    assert len(waiting) == 8 and sum(waiting) / len(waiting) < 0.05, waiting
    assert command.nothing_left()
