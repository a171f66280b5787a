"""The models: their graphs as golden files, and that defining them costs nothing."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.model import Model
from dlcompare.models import dlcompare_models, googlenet, inception

GOLDEN = Path(__file__).parents[2] / "golden"
UPDATE = "UPDATE_GOLDEN"  # set to 1 to rewrite the golden graphs; then review the diff
MODELS = {model.name: model for model in dlcompare_models()}

IMAGE = [name for name, model in MODELS.items() if "image" in model.inputs]
TEXT = [name for name in MODELS if name not in IMAGE]


def test_the_models_of_the_first_release_are_on_offer() -> None:
    assert set(MODELS) == {"alexnet", "vgg16", "vgg19", "googlenet", "inception_v3", "resnet18", "resnet34", "resnet50",
                           "resnet101", "resnet152", "bert-base", "bert-squad", "bert-tiny"}
    assert len(MODELS) == len(dlcompare_models())


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_golden_one(name: str) -> None:
    path, text = GOLDEN / f"{name}.jsonl", MODELS[name].graph().to_json()
    if os.environ.get(UPDATE):
        path.write_text(text)
    assert text.splitlines() == path.read_text().splitlines(), f"reviewed and meant? {UPDATE}=1 pytest {__file__}"


def test_no_golden_graph_is_left_behind() -> None:
    assert {path.stem for path in GOLDEN.glob("*.jsonl")} == set(MODELS)


@pytest.mark.parametrize("name", IMAGE)
def test_image_models_classify_into_a_thousand(name: str) -> None:
    graph = MODELS[name].graph()
    assert graph.inputs["image"].shape == ((3, 299, 299) if name == "inception_v3" else (3, 224, 224))
    assert graph.inputs["label"].high == 1000
    assert graph.node(graph.outputs["logits"]).shape == (1000,)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.classes])
def test_another_number_of_classes_changes_the_last_layers_alone(name: str) -> None:
    own, other = MODELS[name].graph(), MODELS[name].graph(classes=10)
    assert MODELS[name].graph(classes=MODELS[name].classes) == own
    assert other.inputs["label"].high == 10 and other.node(other.outputs["logits"]).shape == (10,)
    changed = [a for a, b in zip(own.nodes, other.nodes, strict=True) if a != b]
    assert {node.op for node in changed} == {"dense"} and {node.shape for node in changed} == {(MODELS[name].classes,)}
    assert all(param.shape[0] == 10 for name, param in other.params().items() if param != own.params()[name])


def test_classes_are_for_classifiers_that_take_them() -> None:
    with pytest.raises(UsageError, match="it is no classifier; leave --classes out"):
        MODELS["bert-squad"].graph(classes=10)
    model = MODELS["resnet18"]
    fixed = dataclasses.replace(model, build=lambda image, label: model.build(image=image, label=label))
    with pytest.raises(UsageError, match="it always tells 1000 apart; leave --classes out"):
        fixed.graph(classes=10)
    assert fixed.graph(classes=1000) == model.graph()


@pytest.mark.parametrize("name", TEXT)
def test_text_models_read_integers_with_bounds(name: str) -> None:
    inputs = MODELS[name].graph().inputs
    assert {given.dtype for given in inputs.values()} == {"int64"}
    assert all(given.high for given in inputs.values())
    for given in inputs.values():
        if given.role == "position":
            assert (given.shape, given.high) == ((), inputs["input_ids"].shape[0])


def test_the_span_loss_does_not_reach_the_pooler() -> None:
    graph = MODELS["bert-tiny"].graph()
    beyond = [name for name in graph.params() if name not in graph.trained()]
    assert beyond == ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]


AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


@pytest.mark.parametrize("name", AUXILIARY)
def test_the_loss_reads_the_auxiliary_classifiers_and_the_logits_do_not(name: str) -> None:
    graph = MODELS[name].graph()
    heads = {param for param in graph.params() if param.startswith(AUXILIARY[name])}
    read = {node.param_name(local) for node in graph.needed("logits") for local in node.params}
    assert read == set(graph.params()) - heads
    assert {param for param in heads if graph.params()[param].trained} < set(graph.trained())


def test_auxiliary_losses_have_the_published_weights() -> None:
    found = {name: [n.attrs["factor"] for n in MODELS[name].graph().nodes if n.op == "scale"] for name in AUXILIARY}
    assert found == {"googlenet": [0.3], "inception_v3": [0.4]}


def strides(graph: Graph) -> dict[str, int]:
    return {node.name: node.attrs["stride"] for node in graph.nodes if node.op == "conv" and node.attrs["stride"] > 1}


def test_a_bottleneck_strides_in_its_3x3_convolution() -> None:
    found = strides(MODELS["resnet50"].graph())
    assert found == {"conv1": 2, **{f"layer{n}.0.{part}": 2 for n in (2, 3, 4) for part in ("conv2", "downsample.0")}}


@pytest.mark.parametrize(("name", "size"), [("resnet18", 32), ("resnet152", 32), ("vgg16", 32), ("alexnet", 63),
                                          ("googlenet", googlenet.SMALLEST)])
def test_small_images_are_taken(name: str, size: int) -> None:
    assert MODELS[name].graph(size).params() == MODELS[name].graph().params()


@pytest.mark.parametrize(("name", "size"), [("alexnet", 62), ("vgg16", 31)])
def test_too_small_images_are_refused(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=f"{name}.*cannot take {size} x {size}.*too small"):
        MODELS[name].graph(size)


@pytest.mark.parametrize(("name", "family"), [("googlenet", googlenet), ("inception_v3", inception)])
def test_the_smallest_image_is_named_and_is_the_smallest(name: str, family: ModuleType,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    least = family.SMALLEST
    assert MODELS[name].graph(least).params() == MODELS[name].graph().params()
    with pytest.raises(UsageError, match=f"{name}.*cannot take {least - 1} x {least - 1}.*need {least} x {least}"):
        MODELS[name].graph(least - 1)
    monkeypatch.setattr(family, "SMALLEST", 0)
    with pytest.raises(UsageError, match="makes an empty tensor"):
        MODELS[name].graph(least - 1)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_model_names_its_paper_and_its_checkpoint(model: Model) -> None:
    assert model.reference
    assert model.checkpoint


def test_importing_the_models_imports_no_numpy() -> None:
    code = ("import sys; from dlcompare.models import dlcompare_models; dlcompare_models()[0].graph();"
            "sys.exit('numpy' in sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
