"""The whole of ``dlcompare machine`` for real: measured once, known afterwards, beside the numbers of a training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlcompare.core.files import cache_root
from dlcompare.core.machine.measured import MATRIX


def dlcompare(*words: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=600, check=False, env={**os.environ, "DLCOMPARE_CACHE": str(cache)})


def test_a_machine_is_measured_once_and_stands_beside_numbers_from_then_on(environment, tmp_path: Path) -> None:
    environment("pytorch-ddp")
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    (cache / "envs").symlink_to(cache_root() / "envs")
    made = dlcompare("machine", "--matrix", "pytorch-ddp", "--format", "json", cwd=tmp_path, cache=cache)
    whole = next(one for one in json.loads(made.stdout) if one["framework"] == "whole")
    found, refused = whole["measured"], " ".join(whole["measured"]["absent"].values())
    assert made.returncode == int("busy" in refused), made.stderr
    if "busy" in refused:
        pytest.skip(f"needs a machine that others leave alone: {refused}")
    best = max(one["value"] for one in found["rates"] if one["what"] == MATRIX)
    assert best > 1e9 and {one["what"] for one in found["rates"]} >= {"memory", "exchange"}
    again = dlcompare("machine", "--format", "json", cwd=tmp_path, cache=cache)
    assert json.loads(again.stdout) == found and again.returncode == 0
    trained = dlcompare("--framework", "pytorch-ddp", "--model", "resnet18", "--image-size", "32", "--windows", "2",
                        "--steps", "2", "--verify", "off", "--format", "json", cwd=tmp_path, cache=cache)
    (record,) = json.loads(trained.stdout)
    bounds = record["bounds"]
    assert record["status"] == "ok" and bounds["shares"]["arithmetic"] == pytest.approx(
        record["throughput"]["value"] / bounds["limits"]["arithmetic"])
    assert 0 < bounds["shares"]["arithmetic"] < 1.1 and bounds["limits"]["input"] > 0 and bounds["ceiling"]
