"""The main job for real: TensorFlow + Horovod beside PyTorch DDP, two worker processes each that all-reduce."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from dlcompare.core.files import cache_root
from dlcompare.core.graph.params import initial_params, write_params
from dlcompare.core.kinds.training.result import TrainingRecord
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.typed_json import json_schema

BOTH = ("--framework", "tf-horovod,pytorch-ddp", "--workers", "2", "--windows", "2", "--steps", "1", "--verify", "off")


def dlcompare(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dlcompare.core", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=1200, check=False)


def records(*words: str, cwd: Path) -> list[dict[str, Any]]:
    answer = dlcompare(*BOTH, *words, "--format", "json", cwd=cwd)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def assert_comparable(found: list[dict[str, Any]]) -> None:
    """What makes two numbers comparable, as the records prove it."""
    assert [r["status"] for r in found] == ["ok", "ok"]
    for name in ("params_sha256", "sample_order_sha256", "first_batch_sha256", "multiply_adds", "global_batch"):
        assert len({r[name] for r in found}) == 1, name
    first = [r["loss"][0]["loss"] for r in found]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    for one in found:
        jsonschema.validate(one, json_schema(TrainingRecord))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, name, number in ((s, c, n) for s in ("train", "val") for c in ("cat", "dog") for n in range(12)):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / name / f"{number}.jpg")
    (root / "train" / "cat" / "0.jpg").write_bytes((root / "train" / "cat" / "0.jpg").read_bytes()[:3000])
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(root / "train" / "cat" / "deep.png")
    return root


def test_resnet50_on_real_images_under_both(tmp_path: Path) -> None:
    found = records("--model", "resnet50", "--image-size", "64", "--batch", "4", cwd=tmp_path)
    assert_comparable(found)
    assert {r["dataset"] for r in found} == {"digits"}
    assert all(len(w["seconds"]) == 2 for r in found for w in r["windows"]), "both ranks were timed"


def test_a_folder_of_images_and_given_weights(tmp_path: Path, images: Path) -> None:
    """The weights have no head, which is drawn from the seed as without weights, for the two classes of the folder."""
    params = initial_params(plugins().model("resnet18").graph(), 7)
    write_params(tmp_path / "w.safetensors", {name: one for name, one in params.items() if not name.startswith("fc.")})
    words = ("--model", "resnet18", "--image-size", "64", "--batch", "4", "--seed", "7", "--data",
             f"imagefolder:{images}", "--on-bad-sample", "skip")
    found = records(*words, "--weights", str(tmp_path / "w.safetensors"), cwd=tmp_path)
    assert_comparable(found)
    assert all(r["job"]["skip"] == ["train/cat/0.jpg"] for r in found)
    assert all({"kind": "weights", "values": {"drawn": ["fc.weight", "fc.bias"], "unread": []}} in r["warnings"]
               for r in found)
    seeded = records(*words, cwd=tmp_path)
    assert {r["params_sha256"] for r in seeded} == {r["params_sha256"] for r in found}


def test_a_network_without_images(tmp_path: Path) -> None:
    found = records("--model", "bert-tiny", "--batch", "4", cwd=tmp_path)
    for name in ("params_sha256", "first_batch_sha256"):
        assert len({r[name] for r in found}) == 1
    assert {r["dataset"] for r in found} == {"synthetic"}


@pytest.mark.parametrize("words", [("resnet18", "--image-size", "32"), ("bert-tiny", "--case", "model")],
                         ids=lambda words: words[0])
def test_every_backend_computes_what_the_reference_does(words: tuple[str, ...], tmp_path: Path) -> None:
    """The tiny cases, which are of no model, are proved once."""
    answer = dlcompare("verify", "--framework", "all", "--model", *words, "--format", "json", cwd=tmp_path)
    outcomes = json.loads(answer.stdout)
    assert {(o["framework"], o["workers"]) for o in outcomes} >= {
        (name, n) for name in ("pytorch-ddp", "tf-horovod") for n in (1, 2)}
    assert [o for o in outcomes if not o["passed"]] == [], answer.stderr
    assert answer.returncode == 0


def test_the_main_job_proves_itself_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    for part in ("envs", "wheels", "locks", "logs", "views"):  # all but certificates and trials
        (cache_root() / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / part).symlink_to(cache_root() / part)
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    words = ("--framework", "pytorch-ddp", "--batch", "4", "--windows", "2", "--steps", "1")
    (found,) = json.loads(dlcompare(*words, "--model", "bert-tiny", "--format", "json", cwd=tmp_path).stdout)
    assert found["verified"]["passed"]
    kept = tmp_path / "cache" / "certificates"
    certificate = json.loads((kept / f"{found['verified']['certificate']}.json").read_text())
    again = dlcompare(*words, "--model", "bert-tiny", cwd=tmp_path)
    assert "verified" in again.stdout and "not verified" not in again.stdout and "verification" not in again.stderr
    (other,) = json.loads(dlcompare(*words, "--model", "resnet18", "--image-size", "32", "--format", "json",
                                    cwd=tmp_path).stdout)
    later = json.loads((kept / f"{other['verified']['certificate']}.json").read_text())
    assert later["cases_from"] == found["verified"]["certificate"], "the tiny cases are proved once for a build"
    cases = [{check["case"] for check in one["checks"]} for one in (certificate, later)]
    assert cases[0] ^ cases[1] == {"bert-tiny", "resnet18"}


@pytest.mark.parametrize("framework", ["pytorch-ddp", "tf-horovod"])
def test_bf16_verifies_too(framework: str, tmp_path: Path) -> None:
    answer = dlcompare("verify", "--framework", framework, "--model", "bert-tiny", "--precision", "bf16",
                       "--check-workers", "1", "--format", "json", cwd=tmp_path)
    (outcome,) = json.loads(answer.stdout)
    assert outcome["passed"], outcome
