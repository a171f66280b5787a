"""Whether the tensors of a file fit a graph: what may be missing and is drawn, and the words for what does not fit."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from dlcompare.core.errors import UsageError

from . import Graph, Node
from .naming import Found

SHOWN = 3  # misfits named in an error before the rest are only counted
PRETRAINING = "cls."  # BERT's heads for masked words and the next sentence, which no model here has


def check_fit(path: Path, found: Found, graph: Graph) -> tuple[str, ...]:
    """Return the names of the parameters that are to be drawn, for they are missing and may be.

    Raises:
        UsageError: others are missing, or a tensor has another shape, or may be the missing head by another name.
    """
    wanted = graph.params()
    missing = [name for name in wanted if name not in found.arrays]
    drawn = may_be_drawn(graph, missing)
    lost = [name for name in missing if name not in drawn]
    heads = {wanted[name].shape[1:] for name in drawn & reached_by(graph, "loss")}
    if not lost and any(is_head(name, array, heads) for name, array in found.strays.items()):
        lost = missing
    odd = [name for name, array in found.arrays.items()
           if array.shape != wanted[name].shape or array.dtype.kind != "f"]
    if lost or odd:
        count = len(lost) + len(odd) + (len(found.strays) if lost else 0) - SHOWN
        words = itertools.islice(misfits(found, graph, lost, odd), SHOWN)
        raise UsageError(f"weights file {str(path)!r} does not fit model {graph.name!r}: {'; '.join(words)}"
                         f"{f'; and {count} more' if count > 0 else ''}{advice(found, graph)}")
    return tuple(missing)


def check_finite(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError if a parameter holds NaN or infinity: no network answers anything with it."""
    bad = [name for name, array in arrays.items() if not np.isfinite([array.min(), array.max()]).all()]
    if bad:
        count = int((~np.isfinite(arrays[bad[0]])).sum())
        raise UsageError(
            f"weights file {str(path)!r} holds NaN or infinity: {count} of the {arrays[bad[0]].size} numbers of "
            f"{bad[0]!r} are not finite" + (f", and {len(bad) - 1} more parameters hold such" if len(bad) > 1 else "") +
            "; no network can answer or train with them. Give another file, such as a checkpoint from before training "
            "diverged")


def may_be_drawn(graph: Graph, missing: Collection[str]) -> set[str]:
    """Return which missing parameters a file need not hold.

    Those that the loss does not reach (BERT's pooler under a span head); and if nothing else is missing, a head (dense
    layers with no layer of the file after them), and auxiliary classifiers, which only the loss reads.
    """
    used = set(missing) & reached_by(graph, "loss")
    return set(missing) if used <= head(graph, used) | auxiliary(graph, used) else set(missing) - used


def head(graph: Graph, missing: Collection[str]) -> set[str]:
    """Return the parameters of the missing dense layers that no layer comes after but such."""
    found: set[str] = set()
    before: set[str] = set()  # nodes that a layer of the file comes after
    for node in reversed(graph.nodes):
        own = parameters([node])
        if node.name in before or (own and not (node.op == "dense" and own <= set(missing))):
            before.update(node.inputs)
        else:
            found |= own
    return found


def auxiliary(graph: Graph, missing: Collection[str]) -> set[str]:
    """Return the parameters that only the loss reads, if all of them are missing."""
    others = [name for name in graph.outputs if name != "loss"]
    own = reached_by(graph, "loss") - (reached_by(graph, *others) if others else reached_by(graph, "loss"))
    return own if own <= set(missing) else set()


def reached_by(graph: Graph, *outputs: str) -> set[str]:
    return parameters(graph.needed(*outputs))


def parameters(nodes: Collection[Node]) -> set[str]:
    return {node.param_name(local) for node in nodes for local in node.params}


def is_head(name: str, array: np.ndarray, heads: Collection[tuple[int, ...]]) -> bool:
    """Return whether a tensor that no parameter is called after may be a head that is missing."""
    return array.ndim == 2 and array.shape[1:] in heads and f".{PRETRAINING}" not in f".{name}"


def misfits(found: Found, graph: Graph, lost: list[str], odd: list[str]) -> Iterator[str]:
    """Yield in words each tensor that is missing, unexpected, or of another shape."""
    wanted = graph.params()
    for name in lost:
        there = next((what for other, what in found.others.items() if other.endswith(name)), None)
        yield f"missing tensor {name!r}, shape {wanted[name].shape}" + (f" (the file has a {there})" if there else "")
    for name in found.strays if lost else ():
        near = nearest(name, lost)
        yield f"unexpected tensor {name!r}" + (f" (nearest parameter: {near!r})" if near else "")
    for name in odd:
        array = found.arrays[name]
        yield (f"tensor {name!r} has shape {array.shape}, wanted {wanted[name].shape}"
               if array.shape != wanted[name].shape else f"tensor {name!r} holds {array.dtype} (quantised?), wanted "
               "floating-point numbers")


def nearest(name: str, names: Collection[str]) -> str | None:
    """Return the name with the longest end in common, if that is two parts at least, else the one spelt most alike."""
    best = max(names, key=lambda other: common_end(name, other), default="")
    if common_end(name, best) > 1:
        return best
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def common_end(one: str, two: str) -> int:
    """Return how many parts of two names are the same, from the end."""
    pairs = zip(reversed(one.split(".")), reversed(two.split(".")), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def advice(found: Found, graph: Graph) -> str:
    """Return what to do where a classifier's last layer has another number of classes."""
    theirs, name = classes_of(found, graph), last_layer(graph)
    ours = graph.params()[name].shape[0] if theirs else None
    return "" if theirs == ours else f"; its last layer tells {theirs} classes apart, the model's {ours}: give " \
        f"--classes {theirs}"


def classes_of(found: Found, graph: Graph) -> int | None:
    """Return how many classes the last layer of a file tells apart; None if it holds none."""
    array = found.arrays.get(last_layer(graph))
    return None if array is None or not array.ndim else len(array)


def last_layer(graph: Graph) -> str:
    """Return the name of the weights that a classifier's answers come from; "" if it is none."""
    last = graph.node(graph.outputs["logits"]) if "logits" in graph.outputs else None
    return last.param_name("weight") if last and "weight" in last.params else ""
