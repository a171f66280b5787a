"""The hooks: each is documented with its exact signature and has a test named for it; the documented plugin runs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import toy_kind

from dlcompare.core.data import DatasetKind
from dlcompare.core.data.builtin import SHARDS
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.params import initial_params
from dlcompare.core.kinds import kind as kind_contract
from dlcompare.core.kinds.kind import Kind
from dlcompare.core.meters.meter import Meter
from dlcompare.core.plugins import hookspecs
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.plugins.engine import Engine
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.registry import BUILTIN, HOOKS, Plugins
from dlcompare.core.worker.metering import Metering

DOCS = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
# That of a kind stands beside its contract, which needs more than the others'.
SPECS = {node.name: node for module in (hookspecs, kind_contract)
         for node in ast.parse(Path(module.__file__).read_text()).body
         if isinstance(node, ast.FunctionDef) and [ast.unparse(mark) for mark in node.decorator_list] == ["hookspec"]}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins((*BUILTIN, tiny.__name__, toy_kind.__name__))


def test_dlcompare_models(plugins: Plugins) -> None:
    assert all(isinstance(model, Model) for model in plugins.models().values())
    graph = plugins.model("tiny-residual").graph(image_size=24)
    assert graph.inputs["image"].shape == (3, 24, 24) and "conv1.weight" in graph.params()


def test_dlcompare_backends(plugins: Plugins) -> None:
    assert all(isinstance(backend, Backend) for backend in plugins.backends().values())
    graph, job = plugins.model("tiny-residual").graph(), Job("tiny-numpy", "tiny-residual")
    trainer = plugins.backend("tiny-numpy").trainer(graph, initial_params(graph, 0), job)
    kind, _ = plugins.dataset("stripes")
    batch = kind.open("", graph.inputs).batch(np.arange(8), epoch=0)
    losses = []
    for _ in range(5):
        trainer.step(trainer.place(batch), 0.1)
        losses.append(trainer.wait())
    assert losses[-1] < losses[0]


def test_dlcompare_datasets(plugins: Plugins) -> None:
    assert all(isinstance(kind, DatasetKind) for kind in plugins.datasets().values())
    inputs = plugins.model("tiny-residual").inputs
    for kind in plugins.datasets().values():
        if kind.name not in ("imagefolder", *SHARDS, "arrays", "words"):  # files, with tests of their own; sentences
            argument = {"shapes": "classes=10"}.get(kind.name, "")  # the model tells 10 apart
            kind.check(argument, inputs)
            dataset = kind.open(argument, inputs, seed=0, train=True, loaders=1)
            batch = dataset.batch(np.array([3, 1]), epoch=0)
            dataset.close()
            assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
                k: ((2, *spec.shape), np.dtype(spec.dtype)) for k, spec in inputs.items()}


def test_dlcompare_meters(plugins: Plugins) -> None:
    assert all(isinstance(meter, Meter) for meter in plugins.meters().values())
    metered = Metering(plugins.meters().values(), "cpu").metered()
    assert [one.name for one in metered] == list(plugins.meters())
    assert all(one.quantities or one.reason for one in metered), "what is absent has its reason"


def test_dlcompare_engines(plugins: Plugins, tmp_path: Path) -> None:
    assert all(isinstance(engine, Engine) for engine in plugins.engines().values())
    session = plugins.engine("tiny-ones").open(InferenceJob("tiny-ones", "tiny-residual"), tmp_path)
    session.run(session.place({"image": np.zeros((3, 3, 16, 16), np.float32)}))
    assert session.fetch()["logits"].shape == (3, 10)


def test_dlcompare_kinds(plugins: Plugins) -> None:
    found: dict[str, Kind] = plugins.by_name("dlcompare_kinds")
    assert {"training", "time_to_accuracy", "compilation", "verification", "inference", "toy"} <= found.keys()
    for name, one in found.items():
        assert isinstance(one, Kind) and one.name == one.job.kind == name and one.title
        assert one.record.__dataclass_fields__["kind"].default == name
    assert found["toy"].rank is not found["training"].rank


@pytest.mark.parametrize("hook", SPECS)
def test_every_hook_has_a_test_named_for_it_and_a_kind(hook: str) -> None:
    assert callable(globals()[f"test_{hook}"])
    assert hook in HOOKS and ast.get_docstring(SPECS[hook])


def test_every_hook_is_documented_with_its_exact_signature_and_nothing_else_is() -> None:
    signatures = [f"{name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
                  for name, node in SPECS.items() if node.returns]
    assert len(signatures) == len(HOOKS)
    assert sorted(re.findall(r"^### `(.*)`$", DOCS, re.MULTILINE)) == sorted(signatures)


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    return str(text)


@pytest.mark.slow
def test_the_documented_plugin_is_listed_and_trains(tmp_path: Path) -> None:
    group, entry = re.findall(r'\[project.entry-points.(\w+)\]\n(.*)', block("toml"))[0]
    info = tmp_path / "acme_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    (tmp_path / "acme_nets.py").write_text(block("python"))
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "DLCOMPARE_CACHE": str(tmp_path / "cache")}

    def dlcompare(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "dlcompare.core", *args], cwd=tmp_path, env=environment, text=True,
                              capture_output=True, check=False, timeout=120)

    listed = dlcompare("list")
    assert {"acme-small", "checkerboards", "acme-numpy"} <= set(listed.stdout.split()), listed.stderr
    job = ("--framework", "acme-numpy", "--model", "acme-small", "--windows", "2", "--steps", "3", "--format", "json")
    done = dlcompare(*job, "--data", "checkerboards:4")
    (record,) = json.loads(done.stdout)
    assert done.returncode == 0 and record["status"] == "ok" and record["framework"] == "acme-numpy", record["reason"]
    wrong = dlcompare(*job, "--data", "checkerboards")
    assert wrong.returncode == 2 and "width of a square" in wrong.stderr


def test_the_documented_plugin_imports_no_numpy_when_it_is_loaded() -> None:
    early = [ast.unparse(n) for n in ast.parse(block("python")).body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert early and not any("numpy" in line for line in early)
