"""Our models against torchvision's and Hugging Face's: names and shapes of all of them, and numbers of eight.

The other side runs ``published_definitions.py`` in an environment of its own: the interpreter that the variable
DLCOMPARE_ORACLE_PYTHON names, or one made from ``oracle.lock``.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import training_bytes
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.params import read_weights
from dlcompare.core.plugins.job import Job
from dlcompare.core.plugins.runtime import EnvironmentSpec
from dlcompare.frameworks.reference.trainer import ReferenceTrainer
from dlcompare.models import bert, dlcompare_models

HERE = Path(__file__).parent
MODELS = {model.name: model for model in dlcompare_models()}
PAIR_TINY = Model("pair-tiny", partial(bert.pair, config=bert.TINY),
                  {**bert.tokens(bert.TINY, 16), "label": bert.PAIR_INPUTS["label"]}, "classification", "")
CASES = {"alexnet": MODELS["alexnet"].graph(64), "vgg16": MODELS["vgg16"].graph(64),
         "googlenet": MODELS["googlenet"].graph(96), "inception_v3": MODELS["inception_v3"].graph(),
         "resnet18": MODELS["resnet18"].graph(64), "resnet50": MODELS["resnet50"].graph(96),
         "bert-tiny": MODELS["bert-tiny"].graph(), "pair-tiny": PAIR_TINY.graph()}
ORACLE = EnvironmentSpec(lock=HERE / "oracle.lock", python=((3, 11), (3, 12)), check="import torch, transformers")
TOLERANCE = 1e-4  # of the spread over the batch; float32 sums over up to 25088 terms are seen to stay near 1e-6


def oracle_python() -> str:
    if given := os.environ.get("DLCOMPARE_ORACLE_PYTHON"):
        return given
    from dlcompare.core.environments import resolve

    return str(resolve.create("oracle", "cpu", ORACLE, print))


@pytest.fixture(scope="module")
def published() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # a gigabyte, which pytest's own folders would keep three times
        subprocess.run([oracle_python(), str(HERE / "published_definitions.py"), folder], check=True, timeout=300)
        yield Path(folder)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_has_the_published_name_and_shape(published: Path, name: str) -> None:
    shapes = json.loads((published / "shapes.json").read_text())[name]
    theirs = {k: tuple(v) for k, v in shapes.items() if not k.endswith("num_batches_tracked")}
    assert {k: p.shape for k, p in MODELS[name].graph().params().items()} == theirs


def ours(graph: Graph, weights: Path, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the reference backend's outputs, in float64, with the published module's own weights."""
    return ReferenceTrainer(graph, read_weights(weights, graph), Job("reference", graph.name)).predict(batch)


@pytest.mark.parametrize("name", CASES)
def test_published_weights_give_the_published_outputs(published: Path, name: str) -> None:
    with np.load(published / f"{name}.npz") as file:
        arrays = dict(file)
    batch = {k[3:]: v for k, v in arrays.items() if k.startswith("in.")}
    theirs = {k[4:]: v for k, v in arrays.items() if k.startswith("out.")}
    outputs = ours(CASES[name], published / f"{name}.pth", batch)
    assert outputs.keys() == theirs.keys()
    for key, wanted in theirs.items():
        spread = np.ptp(wanted, axis=0).max() if wanted.ndim else abs(wanted)  # else a large bias would hide a network
        assert np.abs(outputs[key] - wanted).max() < TOLERANCE * spread, key


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "bert-tiny"])
def test_training_bytes_stay_just_below_what_pytorch_saves_for_the_backward_pass(published: Path, name: str) -> None:
    saved = json.loads((published / "saved.json").read_text())[name]
    graph = MODELS[name].graph()
    bound = training_bytes(graph, 2) - training_bytes(graph, 1)
    assert 0.7 * saved < bound <= saved
