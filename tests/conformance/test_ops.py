"""Operators alone under every framework: forward and step compute the same loss, are proved, and have sane rates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOUR = ("pytorch-ddp", "tf-horovod", "jax", "mxnet")
OPERATORS = ("matmul:96x64x32", "conv2d:2x12x12x8:3x3x8x16:2:1")


@pytest.fixture(autouse=True)
def made(environment: Callable[[str], Path]) -> None:
    for name in FOUR:
        environment(name)


def timed(*words: str, cwd: Path) -> list[dict[str, Any]]:
    line = [sys.executable, "-m", "dlcompare.core", "ops", "--framework", ",".join(FOUR), "--windows", "2",
            "--window-seconds", "0.02", "--threads", "1", "--format", "json", *words]
    done = subprocess.run(line, cwd=cwd, text=True, capture_output=True, timeout=900, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [one["framework"] for one in found] == list(FOUR)
    return found


def test_operators_are_timed_and_proved(tmp_path: Path) -> None:
    for found in timed("--op", ",".join(OPERATORS), cwd=tmp_path):
        assert found["verified"]["passed"]
        for one, flops in zip(found["timed"], (2 * 96 * 64 * 32, 2 * 2 * 6 * 6 * 16 * 3 * 3 * 8), strict=True):
            assert (one["flops"], one["step_flops"], one["reason"]) == (flops, 3 * flops, None)
            forward, step = (min(w["seconds"][0] / w["steps"] for w in one[what]) for what in ("forward", "step"))
            assert 0 < forward < step, f"{found['framework']}: a step has the forward pass in it"


def test_layers_of_a_network_come_near_its_step(tmp_path: Path) -> None:
    """Four kinds of its convolutions, which are most of the step of resnet18 on images of 64 x 64."""
    for found in timed("--from-model", "resnet18", "--image-size", "64", "--classes", "10", "--batch", "4", "--op",
                       "layer1.0.conv1,layer2.0.conv2,layer3.0.conv2,layer4.0.conv2", "--verify", "off", cwd=tmp_path):
        seconds = {one["name"]: min(w["seconds"][0] / w["steps"] for w in one["step"]) for one in found["timed"]}
        inside = sum(one["count"] * (seconds[one["name"]] - sum(seconds[name] / 2 for name in one["framed"]))
                     for one in found["timed"] if one["of"] == "conv")
        assert 0.1 < inside / seconds["whole step"] < 5, found["framework"]
