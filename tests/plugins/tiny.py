"""A plugin as a stranger would write it: a network, a backend and a dataset, all tiny, in one file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.data import Dataset, DatasetKind
from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor
from dlcompare.core.plugins.engine import Engine, Ran, Session
from dlcompare.frameworks.reference import Reference

INPUTS = {"image": Input((3, 16, 16)), "label": Input((), "int64", "label", high=10)}


def residual(image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """A ResNet of one block: the stem strides, the block adds."""
    x = image.conv(8, 3, stride=2, pad=1, bias=False, name="conv1").batch_norm(name="bn1").relu(name="relu1")
    x = x.max_pool(3, 2, pad=1, name="maxpool")
    y = x.conv(8, 3, pad=1, bias=False, name="conv2").batch_norm(name="bn2").relu(name="relu2")
    y = y.conv(8, 3, pad=1, bias=False, name="conv3").batch_norm(name="bn3").add(x, name="sum").relu(name="relu3")
    logits = y.adaptive_avg_pool(1, name="avgpool").flatten(name="flatten").dropout(0.5, name="dropout").dense(
        10, name="fc")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


class TinyNumpy(Reference):
    """The reference under another name, with masks of its own."""

    name = "tiny-numpy"
    title = "NumPy, for the tests"

    def trainer(self, graph: Any, params: Any, job: Any) -> Any:
        import numpy as np

        from dlcompare.frameworks.reference.ops import TABLE, Dropout
        from dlcompare.frameworks.reference.trainer import ReferenceTrainer

        rng = np.random.default_rng(job.seed)

        class Masks(Dropout):
            def forward(self, call: Any) -> Any:
                rate = call.attrs["rate"] if call.training else 0.0
                kept = (rng.random(call.x.shape) >= rate) / (1 - rate)
                return call.x * kept, kept

            def backward(self, call: Any, saved: Any, grad: Any) -> Any:
                return (grad * saved,), {}

        return ReferenceTrainer(graph, params, job, table={**TABLE, "dropout": Masks()})


class Stripes(Dataset):
    """Label n is a stripe at row n."""

    size = 40

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self.inputs = inputs

    def batch(self, indices: Any, *, epoch: int) -> dict[str, Any]:
        import numpy as np

        label = indices % self.inputs["label"].high
        image = np.zeros((len(indices), *self.inputs["image"].shape), np.float32)
        image[np.arange(len(indices)), :, label] = 1
        return {"image": image, "label": label}


class Words(Dataset):
    """Sentences for BERT of words drawn at random; the answer is where the largest and the smallest word are."""

    size = 80

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        self.inputs = inputs

    def batch(self, indices: Any, *, epoch: int) -> dict[str, Any]:
        import numpy as np

        spec = self.inputs["input_ids"]
        words = np.stack([np.random.default_rng(int(index)).integers(1, spec.high, spec.shape) for index in indices])
        rest = {"token_type_ids": np.zeros_like(words), "attention_mask": np.ones_like(words)}
        return {"input_ids": words, **rest, "start_positions": words.argmax(axis=1),
                "end_positions": words.argmin(axis=1)}


def nothing(argument: str, inputs: Mapping[str, Input]) -> None:
    """Accept anything."""


@hookimpl
def dlcompare_models() -> list[Model]:
    return [Model("tiny-residual", residual, INPUTS, task="classification", reference="the tests")]


@hookimpl
def dlcompare_backends() -> list[Reference]:
    return [TinyNumpy()]


@hookimpl
def dlcompare_datasets() -> list[DatasetKind]:
    return [DatasetKind("stripes", "a stripe per class", open=lambda argument, inputs, **_: Stripes(inputs),
                        check=nothing),
            DatasetKind("words", "sentences", open=lambda argument, inputs, **_: Words(inputs), check=nothing)]


class OnesEngine(Engine):
    """Answers one for every class, at once."""

    name = "tiny-ones"
    title = "ones, for the tests"

    def open(self, job: Any, folder: Any) -> Session:
        return Ones()


class Ones(Session):
    rows = 0

    def run(self, placed: Any) -> None:
        self.rows = len(placed["image"])

    def fetch(self) -> dict[str, Any]:
        import numpy as np

        return {"logits": np.ones((self.rows, 10), np.float32)}

    def ran(self) -> Ran:
        return Ran("fp32", layers=0)

    def settings(self) -> dict[str, Any]:
        return {}

    def versions(self) -> dict[str, str]:
        return {"tiny": "1"}


@hookimpl
def dlcompare_engines() -> list[Engine]:
    return [OnesEngine()]
