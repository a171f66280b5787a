"""Accuracy, its paired intervals and the floor, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dlcompare.core.errors import UsageError
from dlcompare.inference.cell import accuracy


def predictions(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {"output/logits": logits.astype(np.float32), "label/label": labels}


def some(seed: int, *, rows: int = 400, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)


def test_top_one_and_top_five_are_what_sorting_says() -> None:
    logits, labels = some(0)
    found = accuracy.answers("classification", predictions(logits, labels))
    order = np.argsort(-logits, axis=1)
    assert found.first_five is not None
    assert (found.right == (order[:, 0] == labels)).all()
    assert (found.first_five == (order[:, :5] == labels[:, None]).any(axis=1)).all()
    said = accuracy.scores(found, "classification")
    assert said["metric"] == "top-1" and said["samples"] == 400 and said["right"] == found.right.mean()


@pytest.mark.parametrize(("classes", "asked"), [(5, False), (6, True)])
def test_the_first_five_are_not_asked_of_five_classes(classes: int, asked: bool) -> None:
    logits, labels = some(1, classes=classes)
    found = accuracy.answers("classification", predictions(logits, labels))
    assert (found.first_five is not None) == asked == (accuracy.scores(found, "classification")["top5"] is not None)
    assert (accuracy.against(found, found)["top5"] is not None) == asked


def test_a_tie_is_won_by_the_earlier_class_and_not_a_number_is_never_right() -> None:
    logits = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [np.nan, 0.0, 0.0], [np.nan, 0.0, -1.0]])
    logits = np.pad(logits, ((0, 0), (0, 3)), constant_values=-9.0)
    found = accuracy.answers("classification", predictions(logits, np.array([0, 1, 0, 1])))
    assert found.right.tolist() == [True, False, False, False]
    assert found.first_five is not None and found.first_five.tolist() == [True, True, False, False]


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_class_is_named(label: int) -> None:
    logits, labels = some(1)
    labels[7] = label
    with pytest.raises(UsageError, match=f"sample 7 is {label}, but the network tells 10 classes apart, 0 to 9"):
        accuracy.answers("classification", predictions(logits, labels))


def test_without_labels_there_is_no_accuracy() -> None:
    with pytest.raises(UsageError, match="no labels"):
        accuracy.answers("classification", {"output/logits": np.zeros((2, 2))})


def test_a_span_is_right_if_both_its_ends_are() -> None:
    start, end = np.eye(4)[[0, 1, 2]], np.eye(4)[[1, 1, 3]]
    labels = {"label/start_positions": np.array([0, 1, 0]), "label/end_positions": np.array([1, 2, 3])}
    found = accuracy.answers("span", {"output/start": start, "output/end": end, "output/pooled": np.ones((3, 9)),
                                           **labels})
    assert found.right.tolist() == [True, False, False]


@pytest.mark.parametrize(("start", "wanted"), [([0.0, 0.0, 0.0, 0.0], 0), ([np.nan, 0.0, 0.0, 0.0], 0),
                                              ([0.0, 0.0, 0.0, 1.0], 4)])
def test_a_span_is_wrong_if_an_end_is_no_answer_or_lies_outside(start: list[float], wanted: int) -> None:
    found = accuracy.answers("span", {"output/start": np.array([start]), "output/end": np.eye(4)[:1],
                                      "label/start_positions": np.array([wanted]), "label/end_positions": np.zeros(1)})
    assert found.right.tolist() == [False]


def test_the_paired_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    lost, won, trials = 0.02, 0.012, 2000
    inside = 0
    for _ in range(trials):
        kind = rng.choice(4, size=1000, p=[lost, won, 0.7, 1 - 0.7 - lost - won])
        before, after = np.isin(kind, (0, 2)), np.isin(kind, (1, 2))
        found = accuracy.paired_difference(before, after)
        inside += found["low"] <= won - lost <= found["high"]
    assert 0.93 < inside / trials < 0.985


def test_pairing_makes_the_interval_narrow_and_no_difference_is_no_certainty() -> None:
    right = np.arange(1000) % 5 > 0
    same = accuracy.paired_difference(right, right)
    assert same["value"] == 0 and -0.01 < same["low"] < 0 < same["high"] < 0.01
    unpaired = accuracy.Z * math.sqrt(2 * 0.8 * 0.2 / 1000)
    other = right.copy()
    other[:10] = ~other[:10]
    found = accuracy.paired_difference(right, other)
    assert found["value"] == pytest.approx(other.mean() - right.mean())
    assert found["high"] - found["low"] < unpaired and (found["lost"], found["won"]) == (8, 2)


@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (40, "inconclusive"), (200, "fail")])
def test_the_floor_passes_fails_or_cannot_be_told(lost: int, verdict: str) -> None:
    before = np.arange(5000) < 4000
    after = before.copy()
    after[:lost] = False
    assert accuracy.floor_verdict(before, after, 0.99)["verdict"] == verdict


def test_signal_to_noise_is_in_decibels() -> None:
    logits, _ = some(5)
    noise = np.full_like(logits, np.sqrt(np.mean(logits**2)) / 100)
    assert accuracy.sqnr(logits, logits + noise) == pytest.approx(40)
    assert accuracy.sqnr(logits, logits) is None


def test_probabilities_are_judged_by_their_logits_of_which_the_sure_ones_show_nothing() -> None:
    logits, _ = some(6)
    logits -= logits.mean(axis=1, keepdims=True)
    noisy = logits + np.random.default_rng(7).standard_normal(logits.shape)
    wanted = accuracy.sqnr(logits, noisy - noisy.mean(axis=1, keepdims=True))
    for sharp in (1, 5):
        found = accuracy.sqnr(*(softmax(sharp * x).astype(np.float32) for x in (logits, noisy)))
        assert found == pytest.approx(wanted, abs=0.01)
    assert accuracy.sqnr(np.eye(3), np.eye(3)) is None
    assert math.isfinite(accuracy.sqnr(np.eye(3), np.eye(3)[::-1]) or math.nan), "a probability of zero has a logit"


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def test_the_worst_classes_are_those_that_lost_most() -> None:
    labels = np.repeat(np.arange(4), 50)
    logits = np.eye(4)[labels]
    spoilt = logits.copy()
    spoilt[50:80], spoilt[100:105] = np.eye(4)[0], np.eye(4)[0]
    before, after = (accuracy.answers("classification", predictions(x, labels)) for x in (logits, spoilt))
    found = accuracy.against(before, after, floor=0.99)
    assert [(row["class"], row["before"], row["after"]) for row in found["worst"]] == [(1, 50, 20), (2, 50, 45)]
    assert found["agreement"] == pytest.approx(1 - 35 / 200) and found["floor"]["verdict"] == "fail"
