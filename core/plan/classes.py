"""How many classes the network's last layer tells apart where nobody says: those of the weights, else of the data."""

from __future__ import annotations

from collections.abc import Sequence

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph
from dlcompare.core.graph.model import Model
from dlcompare.core.plugins.registry import Plugins

LEAST = 2  # a network that tells one class apart answers nothing


def usual_classes(plugins: Plugins, model: Model, data: Sequence[str], *, weights: str | None,
                  image_size: int | None) -> int | None:
    """Return how many classes a network is to tell apart that starts from these weights, or without any has these data.

    None: as many as the model does by itself, for nothing says otherwise, or it cannot.

    Raises:
        UsageError: the weights or the data cannot be read.
    """
    if not model.takes_classes:
        return None
    if weights:
        from dlcompare.core.graph.params import classes_in  # late: it needs NumPy

        if (found := classes_in(weights, model.graph(image_size))) and found >= LEAST:
            return found
    known = [count for one in data if (count := classes_in_data(plugins, one)) and count >= LEAST]
    return max(known, default=None)


def check_labels(plugins: Plugins, data: str, graph: Graph) -> None:
    """Raise UsageError if a dataset has labels that the network has no class for."""
    there = classes_in_data(plugins, data) or 0
    for spec in graph.inputs.values():
        if spec.role == "label" and spec.high and there > spec.high:
            raise UsageError(f"{data} has labels of {there} classes, but the network tells only {spec.high} apart; "
                             f"give --classes {there} (and weights of as many)")


def classes_in_data(plugins: Plugins, data: str) -> int | None:
    """Return how many classes the labels of a dataset are of; None if it does not say."""
    kind, argument = plugins.dataset(data)
    return kind.classes(argument) if kind.classes else None
