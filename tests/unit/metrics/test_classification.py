"""Accuracy is counted alike for every framework."""

from __future__ import annotations

import numpy as np
import pytest

from dlcompare.core.data import Dataset
from dlcompare.core.errors import JobError
from dlcompare.core.metrics.classification import NOWHERE, accuracy, ranks
from dlcompare.inference.cell.accuracy import class_answers


class Labels(Dataset):
    """Samples whose image is their own label."""

    def __init__(self, labels: list[int]) -> None:
        self.labels, self.size = np.array(labels), len(labels)

    def batch(self, indices: np.ndarray, *, epoch: int) -> dict[str, np.ndarray]:
        return {"image": self.labels[indices], "label": self.labels[indices]}


def says(offset: int) -> object:
    """Return a predictor whose first choice is so many classes beside the label, of ten."""
    def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        distance = (np.arange(10)[None] - batch["image"][:, None] - offset) % 10
        return {"logits": -distance.astype(np.float32)}
    return predict


@pytest.mark.parametrize(("offset", "top1", "top5"), [(0, 1.0, 1.0), (-4, 0.0, 1.0), (-5, 0.0, 0.0)])
def test_a_label_counts_when_few_enough_classes_are_ahead(offset: int, top1: float, top5: float) -> None:
    found = accuracy(says(offset), Labels([3, 1, 4, 1, 5, 9, 2]), label="label", batch=3)
    assert found == {"top1": top1, "top5": top5}


def test_the_short_last_batch_counts() -> None:
    def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.tile(np.eye(10, dtype=np.float32)[7], (len(batch["image"]), 1))}
    assert accuracy(predict, Labels([0, 0, 0, 7]), label="label", batch=3)["top1"] == 0.25


def test_one_that_finds_all_classes_alike_is_never_right() -> None:
    assert accuracy(lambda b: {"logits": np.zeros((len(b["image"]), 10))}, Labels([0, 1]), label="label",
                    batch=2) == {"top1": 0.0, "top5": 0.0}


TIED = np.random.default_rng(0).integers(-2, 3, (300, 10)).astype(np.float32)  # as of few bits: most rows have ties


def both(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return top-1 as training and as inference see it."""
    found = accuracy(lambda batch: {"logits": logits}, Labels(labels.tolist()), label="label", batch=len(logits))
    return found["top1"], float(class_answers({"logits": logits}, {"label": labels}).right.mean())


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("value", [0.0, -3.5, np.inf, -np.inf])
def test_training_and_inference_give_nothing_for_finding_all_classes_alike(value: float, classes: int) -> None:
    labels = np.arange(20) % classes
    assert both(np.full((20, classes), value, np.float32), labels) == (0.0, 0.0)


def test_training_and_inference_settle_ties_as_argmax_does() -> None:
    labels = np.random.default_rng(1).integers(0, 10, 300)
    first = np.argsort(-TIED, axis=1, kind="stable")
    top1 = float((first[:, 0] == labels).mean())
    assert both(TIED, labels) == (top1, top1) and (first[:, 0] == TIED.argmax(axis=1)).all()
    assert (ranks(TIED, labels) == np.argmax(first == labels[:, None], axis=1)).all(), "and so for every k"


@pytest.mark.parametrize(("logits", "rank"), [
    ([2.0, 1.0, 0.0], 0), ([1.0, 1.0, 0.0], 0), ([1.0, 2.0, 2.0], 2), ([0.0, -np.inf, -np.inf], 0),
    ([1.0, np.nan, 0.0], NOWHERE), ([np.nan, 1.0, 0.0], NOWHERE), ([1.0, np.inf, 0.0], NOWHERE),
    ([np.inf, 1.0, 0.0], NOWHERE), ([1.0, 1.0, 1.0], NOWHERE), ([1.0], 0), ([np.nan], NOWHERE),
])
def test_the_rank_of_class_0(logits: list[float], rank: int) -> None:
    assert ranks(np.array([logits], np.float32), np.array([0])).tolist() == [rank]


def test_nan_is_no_answer() -> None:
    with pytest.raises(JobError, match="NaN in evaluation"):
        accuracy(lambda b: {"logits": np.full((len(b["image"]), 10), np.nan)}, Labels([0]), label="label", batch=1)
