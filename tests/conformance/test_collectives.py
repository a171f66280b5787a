"""Collectives through each framework's own engine, for real: two processes, every payload right, messages seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import Command

from dlcompare.core.plugins.registry import plugins

ENGINES = {name: list(one.offered_collectives) for name, one in plugins().backends().items()
           if one.offered_collectives and "cpu" in one.devices}
QUICK = ("--workers", "2", "--threads", "1", "--iterations", "10", "--size-seconds", "0.05")
RESNET18 = 4 * 11_689_512  # bytes of its gradients
Environment = Callable[[str], Path]


def comm(folder: Path, *words: str, code: int = 0) -> list[dict[str, Any]]:
    return run(folder, "comm", *words, *QUICK, code=code)


def run(folder: Path, *words: str, code: int = 0) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-m", "dlcompare.core", *words, "--format", "json"], cwd=folder,
                          capture_output=True, text=True, timeout=300, check=False, env=os.environ)
    assert done.returncode == code, done.stderr + done.stdout
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("framework", ENGINES)
def test_every_collective_that_is_offered_moves_payloads_rightly(framework: str, environment: Environment,
                                                                 tmp_path: Path) -> None:
    environment(framework)
    offered = ENGINES[framework]
    found = comm(tmp_path, "--framework", framework, "--collective", ",".join(offered), "--sizes", "24,64K,2M")
    assert [one["collective"] for one in found] == offered
    for record in found:
        assert record["status"] == "ok" and record["settings"]["own"]["engine"]
        assert {point["size"] for point in record["sizes"]} == {24, 65536, 2 << 20}
        for point in record["sizes"]:
            assert point["wrong"] is None and point["checked"] >= 5 and len(point["micros"]) >= 5
            assert 1e-6 < point["figures"]["median"] < 5
    (trained,) = run(tmp_path, "--framework", framework, "--model", "resnet18", "--image-size", "32", "--batch", "2",
                     "--windows", "1", "--steps", "1", "--verify", "off")
    assert trained["environment"] == found[0]["environment"], "bounds of trainings find a line by these versions"


@pytest.mark.parametrize("framework", ENGINES)
def test_the_messages_of_a_step_are_all_its_gradients(framework: str, environment: Environment,
                                                      tmp_path: Path) -> None:
    environment(framework)
    (record,) = comm(tmp_path, "--framework", framework, "--sizes", "model:resnet18", "--image-size", "32", "--batch",
                     "4")
    messages = record["messages"]["resnet18"]
    sent = sum(one["size"] for one in messages)
    assert all(one["collective"] == "all_reduce" for one in messages)
    # XLA sends two biases with one and the same gradient once: see test_jax.
    assert RESNET18 - 4 * 896 <= sent <= RESNET18
    assert {one["size"] for one in messages} == {point["asked"] for point in record["sizes"]}
    gradients = sum(one["gradients"] for one in messages)
    assert gradients in (62, 62 - 3) and len(messages) <= gradients


@pytest.mark.parametrize("framework", ENGINES)
def test_a_rank_that_is_killed_within_a_collective_ends_the_job(framework: str, environment: Environment,
                                                                start: Callable[..., Command]) -> None:
    environment(framework)
    command = start("comm", "--framework", framework, "--sizes", "4M", "--workers", "2", "--threads", "1",
                    "--iterations", "100000", "--size-seconds", "600")
    command.until(framework, "sizes", within=120)
    (pid, *_) = {event["pid"] for event in command.events(framework, "build") if event.get("rank") == 1}
    os.kill(pid, signal.SIGKILL)
    assert command.wait(60) == 1 and command.nothing_left()
    record = command.records()[framework]
    assert record["status"] == "failed" and str(pid) in record["reason"]
