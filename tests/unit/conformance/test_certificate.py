"""A certificate holds while the source that decides the arithmetic is the same, and is told of when it is not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from dlcompare.core.conformance import certificate, source
from dlcompare.core.conformance.check import Check
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import BUILTIN, Plugins

CHECKS, VERSIONS = [Check("relu", "loss", 0.0, 1e-6)], {"numpy": "2"}
Load = Callable[..., None]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Load]:
    """Return a function that loads plugins from outside beside the built-in ones, as a new process would."""
    monkeypatch.setenv("DLCOMPARE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith("acme")]:
            del sys.modules[name]

    def load(*modules: str) -> None:
        forget()
        importlib.invalidate_caches()
        found = Plugins((*BUILTIN, *modules))
        assert not found.broken
        monkeypatch.setattr(source, "plugins", lambda: found)

    yield load
    forget()


def certified(job: Job, *, passed: bool = True, tmp_path: Path) -> None:
    checks = CHECKS if passed else [Check("relu", "loss", 1.0, 1e-6)]
    certificate.save(certificate.make(job, checks, VERSIONS, None), tmp_path)


def files(framework: str, model: str) -> set[str]:
    return set(source.sources(Job(framework, model)))


@pytest.mark.parametrize(("framework", "model", "among", "not_among"), [
    ("pytorch-ddp", "resnet18", ("frameworks.pytorch.trainer", "models.resnet"), ("jax", "horovod", "models.vgg")),
    ("tf-horovod", "vgg16", ("frameworks.tensorflow.ops", "frameworks.horovod.__init__", "models.vgg"), ("mxnet",)),
    ("mxnet-horovod", "bert-tiny", ("frameworks.mxnet.optimisers", "frameworks.horovod.run", "models.bert"),
     ("tensorflow",)),
    ("jax-local", "googlenet", ("frameworks.jax.ops", "models.googlenet", "models.inception"), ("pytorch", "alexnet")),
])
def test_what_decides_the_arithmetic_is_found_from_backend_and_model(
        framework: str, model: str, among: tuple[str, ...], not_among: tuple[str, ...]) -> None:
    found = files(framework, model)
    assert {f"dlcompare.{name}" for name in (*among, "frameworks.reference.ops")} <= found
    assert {"core/graph/ops/recording.py", "core/graph/params.py", "core/conformance/cases.py",
            "core/worker/windows.py"} <= found
    assert not [name for name in found if any(part in name for part in (*not_among, "reports", "inference", "cli"))]


def test_every_part_of_the_core_that_is_named_exists() -> None:
    assert all(list(source.python(source.ROOT / part)) and (source.ROOT / part).exists() for part in source.CORE)


def test_another_plugin_and_another_model_leave_a_certificate_as_it_is(load: Load, tmp_path: Path) -> None:
    load()
    certified(job := Job("pytorch-ddp", "resnet18"), tmp_path=tmp_path)
    (tmp_path / "acme_tiny.py").write_text(Path(tiny.__file__).read_text())
    load("acme_tiny")
    found = certificate.find(job, VERSIONS)
    assert found["verified"] and found["verified"]["passed"] and found["verified_before"] is None
    assert certificate.find(Job("pytorch-ddp", "vgg16"), VERSIONS) == {"verified": None, "verified_before": None}
    assert certificate.find(job, {"numpy": "3"}) == {"verified": None, "verified_before": None}


HELPER = "from dlcompare.core.graph.ops import Tensor\n\n\ndef twice(x: Tensor) -> Tensor:\n    return x.add(x)\n"


@pytest.mark.parametrize("file", ["acme/nets.py", "acme/inner/helper.py"])
def test_an_edit_of_a_plugins_own_package_is_told_with_the_certificates_date(
        load: Load, file: str, tmp_path: Path) -> None:
    (tmp_path / "acme" / "inner").mkdir(parents=True)
    (tmp_path / "acme" / "nets.py").write_text(Path(tiny.__file__).read_text())
    (tmp_path / "acme" / "inner" / "helper.py").write_text(HELPER)
    load("acme.nets")
    certified(job := Job("tiny-numpy", "tiny-residual"), tmp_path=tmp_path)
    first = certificate.find(job, VERSIONS)["verified"]
    assert first and first["passed"]
    with (tmp_path / file).open("a") as text:
        text.write("\nMORE = 1\n")
    load("acme.nets")
    assert certificate.find(job, VERSIONS) == {"verified": None, "verified_before": first}
    certified(job, passed=False, tmp_path=tmp_path)
    found = certificate.find(job, VERSIONS)
    assert found["verified"] and not found["verified"]["passed"] and found["verified_before"] is None


@pytest.mark.parametrize("part", ["core/graph/ops/recording.py", "dlcompare.models.resnet",
                                  "dlcompare.frameworks.pytorch.ops"])
def test_an_edit_of_what_counts_changes_the_hash(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("pytorch-ddp", "resnet18")
    before, found = source.source_sha256(job), source.sources(job)
    edited: dict[str, Any] = {**found, part: tmp_path / "edited.py"}
    edited[part].write_bytes(found[part].read_bytes() + b"# edited\n")
    monkeypatch.setattr(source, "sources", lambda job, model: edited)
    assert source.source_sha256(job) != before


def test_a_certificate_speaks_for_any_number_of_classes_and_any_image_size(load: Load, tmp_path: Path) -> None:
    load()
    certified(Job("jax", "resnet18"), tmp_path=tmp_path)
    assert certificate.find(Job("jax", "resnet18", classes=10, image_size=32), VERSIONS)["verified"]
    assert not certificate.find(Job("jax", "resnet18", classes=10, precision="bf16"), VERSIONS)["verified"]


@pytest.mark.parametrize("damage", ['{"schema": 3, "framework": "ja', "[]", "null", '{"schema": 3}', "\0\x07", None])
def test_a_damaged_certificate_is_passed_over_with_its_name(load: Load, tmp_path: Path, damage: str | None,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    load()
    certified(job := Job("jax", "resnet18"), tmp_path=tmp_path)
    broken = certificate.kept() / "0000.json"
    if damage is None:
        broken.mkdir()
    else:
        broken.write_text(damage)
    assert certificate.find(job, VERSIONS)["verified"]
    assert f"dlcompare: {broken} cannot be read (" in capsys.readouterr().err
    (good,) = set(certificate.kept().iterdir()) - {broken}
    (certificate.kept() / "1111.json").write_text(good.read_text().replace('"schema": 3', '"schema": 2'))
    assert certificate.find(job, VERSIONS)["verified"] and capsys.readouterr().err == "", "an old one is not damaged"
    good.write_text(good.read_text().replace('"workers": 1', '"workers": "1"'))
    assert certificate.find(job, VERSIONS) == {"verified": None, "verified_before": None}


def test_a_certificate_is_kept_with_its_run_where_the_cache_cannot_be_written(load: Load, tmp_path: Path) -> None:
    load()
    (tmp_path / "cache").write_text("no folder")
    certified(Job("jax", "resnet18"), tmp_path=tmp_path)
    assert (tmp_path / "certificate-jax-w1.json").is_file()
