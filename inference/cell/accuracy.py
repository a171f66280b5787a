"""How accurate a network is under one engine and precision, and how surely that differs from its FP32.

Both answer the same samples, so differences are paired: what counts is on which samples one is right and the other is
not. Intervals are at 95 %, by Agresti and Min's adjusted Wald interval for matched pairs (Statistics in Medicine 24,
2005), which adds half a sample to each of the four cells and so stays honest where no sample, or nearly none, differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcompare.core.errors import UsageError

from .files import PREDICTIONS

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray]

Z = 1.959963984540054  # of a normal variable, 97.5 %
TOP = 5  # of so few classes or fewer, every answer is among the first
WORST = 5  # classes to name
Json = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a network said on some samples: logits (n, classes), which answers are right, which in the first five.

    ``first_five`` is None for a task that does not ask; ``labels`` (n,) likewise where an answer is more than a class.
    ``right`` is None where there are no labels; ``classes`` says whether the greatest of a row is an answer.
    """

    logits: np.ndarray
    right: np.ndarray | None  # bool, (n,)
    first_five: np.ndarray | None
    labels: np.ndarray | None
    classes: bool = True


def class_answers(outputs: Arrays, labels: Arrays) -> Answers:
    """Return the answers of a classifier, whose only output is (n, classes), (n, classes, 1, 1) or the like.

    Raises:
        UsageError: it is not, or a label is out of range.
    """
    import numpy as np

    from dlcompare.core.metrics.classification import ranks

    wanted = next(iter(labels.values())).astype(np.int64)
    logits = class_scores(outputs, len(wanted))
    classes = logits.shape[1]
    if wrong := np.flatnonzero((wanted < 0) | (wanted >= classes)).tolist():
        raise UsageError(f"the label of sample {wrong[0]} is {wanted[wrong[0]]}, but the network tells {classes} "
                         f"classes apart, 0 to {classes - 1} ({len(wrong)} such labels); give data that fits the "
                         "network")
    rank = ranks(logits, wanted)
    return Answers(logits, rank == 0, rank < TOP if classes > TOP else None, wanted)


def class_scores(outputs: Arrays, samples: int) -> np.ndarray:
    """Return the one output that is a score for each sample and class, (samples, classes)."""
    found = [value for value in outputs.values() if value.ndim >= 2 and value.shape[0] == samples
             and value.shape[1] == math.prod(value.shape[1:])]
    if len(found) != 1:
        told = ", ".join(f"{name!r} {value.shape}" for name, value in outputs.items())
        raise UsageError(f"of {samples} samples the network returned {told}; accuracy needs one output of (samples, "
                         "classes), which --output NAME chooses")
    return found[0].reshape(samples, -1)


def span_answers(outputs: Arrays, labels: Arrays) -> Answers:
    """Return the answers of a span network: right is one whose start and end are both the most likely ones.

    The label ``start_positions`` is for the output ``start``, and so on.
    """
    import numpy as np

    from dlcompare.core.metrics.classification import ranks

    heads = [(outputs[position.partition("_")[0]], wanted) for position, wanted in sorted(labels.items())]
    right = np.logical_and.reduce([ranks(logits, wanted) == 0 for logits, wanted in heads])
    return Answers(np.concatenate([logits for logits, _ in heads], axis=1), right, None, None)


def bare_answers(outputs: Arrays, labels: Arrays) -> Answers:
    """Return the answers of any network, without labels: all values of each sample in one row."""
    two = [value for value in outputs.values() if value.ndim == 2 and value.shape[1] > 1]
    return Answers(sample_rows(outputs), None, None, None, classes=len(outputs) == len(two) == 1)


def sample_rows(outputs: Arrays) -> np.ndarray:
    """Return all outputs beside one another, a row for each sample; outputs of another length than most have, such as
    states, are no samples and are left out."""
    import numpy as np

    lengths = [len(value) for value in outputs.values()]
    samples = max(lengths, key=lengths.count)
    return np.concatenate([value.reshape(samples, -1) for value in outputs.values() if len(value) == samples], axis=1)


METRICS: Mapping[str, tuple[str, Callable[[Arrays, Arrays], Answers]]] = {  # by task: what "right" is called
    "classification": ("top-1", class_answers), "span": ("exact match", span_answers),
    "outputs": ("no labels", bare_answers)}


def answers(task: str, predictions: Arrays) -> Answers:
    """Return the answers of a task from what a worker has written: ``output/NAME`` and ``label/NAME``."""
    if task not in METRICS:
        raise UsageError(f"accuracy of the task {task!r} is not known; there is: {', '.join(METRICS)}")
    parts: dict[str, dict[str, np.ndarray]] = {"output": {}, "label": {}}
    for name in predictions:
        kind, _, rest = name.partition("/")
        parts[kind][rest] = predictions[name]
    if not parts["label"] and task != "outputs":
        raise UsageError("this data has no labels, so there is no accuracy; give data with labels")
    return METRICS[task][1](parts["output"], parts["label"])


def scores(found: Answers, task: str) -> Json:
    """Return how often a network is right: ``metric``, ``samples``, ``right``, ``top5`` (shares; None if unasked)."""
    return {"metric": METRICS[task][0], "samples": len(found.logits),
            "right": None if found.right is None else float(found.right.mean()),
            "top5": None if found.first_five is None else float(found.first_five.mean())}


def against(reference: Answers, found: Answers, *, floor: float | None = None) -> Json:
    """Return how answers differ from the reference's: ``difference`` (of shares right, with its interval), ``top5``
    likewise, ``agreement``, ``sqnr_db`` of the logits, ``worst`` classes, and the ``floor``'s verdict if one is set.
    """
    import numpy as np

    both = reference.logits.argmax(axis=1) == found.logits.argmax(axis=1)
    fives = None
    if reference.first_five is not None and found.first_five is not None:
        fives = paired_difference(reference.first_five, found.first_five)
    difference = verdict = None
    if reference.right is not None and found.right is not None:
        difference = paired_difference(reference.right, found.right)
        verdict = None if floor is None else floor_verdict(reference.right, found.right, floor)
    return {"difference": difference, "top5": fives,
            "agreement": float(np.mean(both)) if found.classes else None,
            "sqnr_db": sqnr(reference.logits, found.logits),
            "worst": worst_classes(reference, found),
            "floor": verdict}


def paired_difference(before: np.ndarray, after: np.ndarray, *, weight: float = 1.0) -> Json:
    """Return the mean of after - weight * before over matched samples, with its interval: value, low, high, n."""
    import numpy as np

    cells = [[float(np.sum((before == b) & (after == a))) for a in (False, True)] for b in (False, True)]
    total = len(before)
    value = sum(cells[b][a] * (a - weight * b) for b in (0, 1) for a in (0, 1)) / total
    more = [[count + 0.5 for count in row] for row in cells]
    centre = sum(more[b][a] * (a - weight * b) for b in (0, 1) for a in (0, 1)) / (total + 2)
    square = sum(more[b][a] * (a - weight * b) ** 2 for b in (0, 1) for a in (0, 1)) / (total + 2)
    half = Z * math.sqrt(max(0.0, square - centre**2) / (total + 2))
    return {"value": value, "low": centre - half, "high": centre + half, "n": total,
            "lost": int(cells[1][0]), "won": int(cells[0][1])}


def concluded(accuracy: Json) -> Json:
    """Return a stored accuracy whose differences from the reference follow from the samples lost and won."""
    found = accuracy.get("against_fp32") or {}
    fresh = {name: {**found[name], **difference_of(found[name])} for name in ("difference", "top5")
             if {"n", "lost", "won"} <= (found.get(name) or {}).keys()}
    return {**accuracy, "against_fp32": {**found, **fresh}} if fresh else accuracy


def difference_of(counts: Mapping[str, Any]) -> Json:
    """Return value, low and high of :func:`paired_difference` at weight 1, where only what differs counts."""
    total, lost, won = (counts[name] for name in ("n", "lost", "won"))
    centre, square = (won - lost) / (total + 2), (won + lost + 1) / (total + 2)
    half = Z * math.sqrt(max(0.0, square - centre**2) / (total + 2))
    return {"value": (won - lost) / total, "low": centre - half, "high": centre + half}


def floor_verdict(before: np.ndarray, after: np.ndarray, floor: float) -> Json:
    """Return whether accuracy is at least ``floor`` times the reference's: pass, fail, or inconclusive between."""
    difference = paired_difference(before, after, weight=floor)
    word = "pass" if difference["low"] >= 0 else "fail" if difference["high"] < 0 else "inconclusive"
    return {"floor": floor, "verdict": word, "margin": difference["value"], "low": difference["low"],
            "high": difference["high"]}


def sqnr(reference: np.ndarray, found: np.ndarray) -> float | None:
    """Return the signal-to-quantisation-noise ratio in decibels; None if nothing differs at all.

    Where the reference's rows are probabilities it is that of their logits: of a softmax's answers nearly all are 0 or
    1, whatever the noise before it, so that a few samples would decide.
    """
    import numpy as np

    if distributions(reference):
        reference, found = logits_of(reference), logits_of(found)
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - found)))
    return 10 * math.log10(signal / noise) if signal and noise else None


def distributions(rows: np.ndarray) -> bool:
    """Return whether each row is a softmax's answer."""
    import numpy as np

    sums = rows.sum(axis=1) if rows.ndim == 2 and rows.shape[1] > 1 else np.zeros(1)
    return bool((rows >= 0).all() and np.allclose(sums, 1, atol=1e-3))


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Return logits with these probabilities, those of a row about zero; the least number stands for none at all."""
    import numpy as np

    logits: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    return logits - logits.mean(axis=1, keepdims=True)


def worst_classes(reference: Answers, found: Answers) -> list[Json]:
    """Return the classes that lost most right answers: class, samples, before and after, as counts."""
    import numpy as np

    if reference.labels is None or reference.right is None or found.right is None:
        return []
    rows = []
    for label in np.unique(reference.labels):
        own = reference.labels == label
        before, after = int(reference.right[own].sum()), int(found.right[own].sum())
        if after < before:
            rows.append({"class": int(label), "samples": int(own.sum()), "before": before, "after": after})
    return sorted(rows, key=lambda row: row["after"] - row["before"])[:WORST]


def read_answers(folder: Path, task: str) -> Answers:
    """Return the answers that a job has left in its folder."""
    import numpy as np

    with np.load(folder / PREDICTIONS) as predictions:
        return answers(task, dict(predictions))
