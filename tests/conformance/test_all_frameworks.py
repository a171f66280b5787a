"""What must hold of all frameworks side by side: alike losses, training to an accuracy, and no growth with time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import SLOW, offering

FOUR = ("pytorch-ddp", "tf-horovod", "jax", "mxnet")
STEPS = 30
APART = 0.1  # of the first loss; docs/verdict.md tells why it cannot be less
TOGETHER = 3  # steps, at which rounding has not grown yet
LEAK = 16 << 20  # bytes that 9,000 steps more may add: under 2 KB a step, where a kept array or graph is more


def dlcompare(*words: str, cwd: Path) -> list[dict[str, Any]]:
    answer = subprocess.run([sys.executable, "-m", "dlcompare.core", *words, "--format", "json"], cwd=cwd, text=True,
                            capture_output=True, timeout=1200, check=False, env={**os.environ, **offering(*SLOW)})
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(autouse=True)
def made(environment: Callable[[str], Path]) -> None:
    for name in FOUR:
        environment(name)


def test_thirty_steps_take_the_same_course(tmp_path: Path) -> None:
    found = dlcompare("--framework", ",".join(FOUR), "--model", "resnet18", "--image-size", "32", "--batch", "32",
                      "--classes", "1000", "--lr", "1e-4", "--steps", "1", "--windows", str(STEPS), "--verify", "off",
                      cwd=tmp_path)
    series = [{item["step"]: item["loss"] for item in record["loss"]} for record in found]
    assert len(series) == len(FOUR) and all(set(range(STEPS)) <= one.keys() for one in series)
    first = series[0][0]
    apart = [max(one[step] for one in series) - min(one[step] for one in series) for step in range(STEPS)]
    assert apart[0] < 1e-5 * first and max(apart[:TOGETHER]) < 5e-3 * first and max(apart) < APART * first
    assert all(one[STEPS - 1] < 0.9 * first for one in series), "it learns, so that there is a course to take"


@pytest.mark.parametrize("framework", FOUR)
def test_training_ends_when_the_target_is_reached(framework: str, tmp_path: Path) -> None:
    (found,) = dlcompare("--framework", framework, "--model", "resnet18", "--image-size", "16", "--batch", "32", "--lr",
                         "0.02", "--target", "top1=0.7", "--max-epochs", "10", "--verify", "off", cwd=tmp_path)
    went = found["target"]
    assert went["reached"] and went["value"] >= 0.7 and [p["epoch"] for p in went["curve"]] == list(
        range(1, went["epochs"] + 1))
    assert went["value"] == round(went["value"] * 360) / 360, "a share of the 360 test images, exactly"
    assert all(point["top1"] < 0.7 for point in went["curve"][:-1])
    assert went["samples"] == went["steps"] * 32 and 0 < went["evaluation_seconds"] < went["seconds"]
    assert found["throughput"]["value"] > 0


@pytest.mark.parametrize("framework", FOUR)
def test_ten_thousand_steps_take_no_more_memory_than_one_thousand(framework: str, tmp_path: Path) -> None:
    short, long = (dlcompare("--framework", framework, "--model", "speck", "--data", "synthetic", "--batch", "2",
                             "--threads", "1", "--steps", "1000", "--windows", windows, "--lr", "1e-3",
                             "--verify", "off", cwd=tmp_path)[0]
                   for windows in ("1", "10"))
    assert long["rss_bytes"] - short["rss_bytes"] < LEAK
    seconds = [max(window["seconds"]) for window in long["windows"]]
    assert min(seconds[5:]) < 2 * min(seconds[:5]), "ten times the work a step would show; other load must not"
