"""JAX for real: several local devices, a rank that never joins, and the TPU compiler without a TPU."""

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

Environment = Callable[..., Path]
COMPILE = ("--framework", "jax", "--device", "tpu", "--compile-only")


def dlcompare(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=600, check=False, env={**os.environ, **variables})


def compiled(*words: str, cwd: Path) -> tuple[int, dict[str, Any]]:
    answer = dlcompare(*COMPILE, *words, "--format", "json", cwd=cwd)
    assert answer.stdout, answer.stderr
    (found,) = json.loads(answer.stdout)
    return answer.returncode, found


def test_a_network_compiles_for_a_tpu_that_is_not_here(tmp_path: Path) -> None:
    code, found = compiled("--model", "resnet18", "--image-size", "32", "--batch", "4", "--precision", "bf16",
                           "--topology", "v3:2x2", cwd=tmp_path)
    said = found["compiled"]
    assert code == 0 and (said["devices"], said["device_kind"]) == (8, "TPU v3")
    # Bytes of resnet18's parameters in float32. All gradients are averaged, but three of them once for two parameters:
    # the biases of a block's last batch norm and of its downsampling have the same one (128, 256 and 512 values).
    gradients = 4 * (11_689_512 - 896)
    (summed,) = said["collectives"]
    assert summed["op"] == "all-reduce" and gradients <= summed["bytes"] <= 1.01 * gradients
    # parameters, momentum and their results beside a batch: at least two copies, and far from the core's 16 GB
    assert 2 * gradients < said["memory"]["total"] < 0.1 * found["capacity_bytes"] == 0.1 * 16e9
    forward_and_backward = 6 * 4 * 37_000_000  # operations: about 37 million multiply-adds for 32 x 32 pixels
    # The compiler leaves out what falls on padding: most of a 3 x 3 window on the last, 1 x 1 pixel large, images.
    assert 0.5 * forward_and_backward < said["cost"]["flops"] < forward_and_backward
    assert found["estimated"]["samples_per_second"] == pytest.approx(32 / found["estimated"]["seconds"])
    table = dlcompare(*COMPILE, "--model", "resnet18", "--image-size", "32", "--batch", "4", "--precision", "bf16",
                      "--topology", "v3:2x2", cwd=tmp_path)
    assert "ESTIMATED by roofline, not measured" in table.stdout


def test_what_does_not_fit_is_the_compilers_error(tmp_path: Path) -> None:
    code, found = compiled("--model", "vgg16", "--batch", "1024", "--topology", "v2:2x2", cwd=tmp_path)
    assert code == 1 and found["compiled"] is None
    assert "the compiler refuses" in found["reason"] and "HBM" in found["reason"]


@pytest.mark.parametrize(("words", "reason"), [
    (("--topology", "v9:2x2"), "there is no TPU topology 'v9:2x2'"),
    (("--topology", "v3:2x2", "--workers", "3"), "8 devices, so it takes 8 workers, not 3"),
    (("--topology", "v3:2x2", "--precision", "fp16"), "TPUs have no fp16 arithmetic"),
])
def test_what_cannot_be_compiled_says_why(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    code, found = compiled("--model", "resnet18", "--image-size", "32", "--batch", "4", *words, cwd=tmp_path)
    assert code == 1 and reason in found["reason"]


def test_without_a_topology_it_is_a_mistake(tmp_path: Path) -> None:
    answer = dlcompare(*COMPILE, "--model", "resnet18", cwd=tmp_path)
    assert answer.returncode == 2 and "--topology v3:2x2" in answer.stderr


def test_a_framework_without_such_a_compiler_says_so(tmp_path: Path) -> None:
    answer = dlcompare("--framework", "pytorch-ddp", "--device", "tpu", "--compile-only", "--topology", "v3:2x2",
                       "--model", "resnet18", cwd=tmp_path)
    assert answer.returncode == 1 and "pytorch-ddp runs on cpu, cuda, not on tpu" in answer.stdout


def test_training_on_a_tpu_needs_one(tmp_path: Path) -> None:
    answer = dlcompare("--framework", "jax", "--device", "tpu", "--model", "resnet18", "--format", "json",
                       cwd=tmp_path)
    (found,) = json.loads(answer.stdout)
    assert found["status"] == "refused" and "--compile-only" in found["reason"]


def test_a_rank_that_never_joins_is_named_in_time(tmp_path: Path, environment: Environment) -> None:
    python = environment("jax")
    answer = dlcompare("--framework", "jax-absent", "--model", "speck", "--workers", "2", "--env", str(python),
                       "--format", "json", cwd=tmp_path, **offering("absent", *SLOW))
    (found,) = json.loads(answer.stdout)
    assert found["status"] == "failed" and found["duration_s"] < 60
    assert "have not joined within 5 s: rank 1 never started to" in found["reason"]


def test_local_devices_compute_what_the_reference_does(tmp_path: Path) -> None:
    answer = dlcompare("verify", "--framework", "jax-local", "--model", "bert-tiny", "--check-workers", "2", "--format",
                       "json", cwd=tmp_path)
    (found,) = json.loads(answer.stdout)
    assert found["passed"] and found["workers"] == 2, answer.stdout
