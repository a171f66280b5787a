"""From the names in a published file to those of a graph: wrappers and prefixes off, old spellings made new."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import Graph
from .checkpoint import Unread, dictionaries

# What torch.compile, DistributedDataParallel, AveragedModel and FSDP put around a module, anywhere in a name.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
OLD = {"gamma": "weight", "beta": "bias"}  # of layer norms in BERT's first checkpoints
# Buffers that published checkpoints carry beside their parameters: a batch counter, and the constant 0, 1, 2, ...
CONSTANT = ("num_batches_tracked", "position_ids")
MOST_PARTS = 20  # of a name that are looked at


@dataclass(frozen=True)
class Found:
    """Arrays by the graph's names, and what else the file holds: arrays, and things that are none, by its own names."""

    arrays: Mapping[str, np.ndarray]
    strays: Mapping[str, np.ndarray]
    others: Mapping[str, str]  # what each is, in a word

    @property
    def unread(self) -> tuple[str, ...]:
        """Return in words what was passed over."""
        return (*self.strays, *(f"{name} ({what})" for name, what in self.others.items()))


@dataclass(frozen=True)
class Names:
    """The names of a graph's parameters, their parts, and what stands before each of their ends."""

    whole: Collection[str]
    parts: Collection[str]
    before: Mapping[str, list[str]]

    @classmethod
    def of(cls, graph: Graph) -> Names:
        before = defaultdict[str, list[str]](list)
        for name in graph.params():
            for on, end in cuts(name):
                before[end].append(on)
        return cls(set(graph.params()), {part for name in graph.params() for part in name.split(".")}, before)


def find(tree: Mapping[str, Any], graph: Graph) -> Found:
    """Return what of a file belongs to a graph: of its dictionaries the first that has the most of its parameters."""
    every, wanted = [(path, *split(one)) for path, one in dictionaries(tree)], Names.of(graph)
    matched = [match(arrays, wanted) for _, arrays, _ in every]
    best = max(range(len(every)), key=lambda place: (len(matched[place]), len(every[place][1])))
    (path, arrays, others), names = every[best], matched[best]
    strays = {name: array for name, array in arrays.items()
              if name not in names and name.rpartition(".")[2] not in CONSTANT}
    beside = {str(name): describe(value) for name, value in tree.items() if path and str(name) != path[0]}
    return Found({names[name]: array for name, array in arrays.items() if name in names}, strays, beside | others)


def split(one: Mapping[Any, Any]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return a dictionary's arrays, and what else is in it."""
    return ({str(name): value for name, value in one.items() if isinstance(value, np.ndarray)},
            {str(name): describe(value) for name, value in one.items() if not isinstance(value, np.ndarray | Mapping)})


def describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "tensor"
    return value.what if isinstance(value, Unread) else type(value).__name__


def match(names: Iterable[str], wanted: Names) -> dict[str, str]:
    """Return the graph's name of each name that has one; of two that come to the same the first has it."""
    plain = {name: unwrap(name, wanted.parts) for name in names}
    off, on = prefixes(plain.values(), wanted)
    found: dict[str, str] = {}
    for name, short in plain.items():
        if short.startswith(off) and on + short[len(off):] in wanted.whole:
            found.setdefault(on + short[len(off):], name)
    return {name: full for full, name in found.items()}


def unwrap(name: str, there: Collection[str]) -> str:
    """Return a name without wrappers and in today's spelling; ``there`` are the parts of the graph's names."""
    parts = [part for part in name.split(".") if part not in WRAPPERS or part in there]
    return ".".join(parts[:-1] + [OLD.get(part, part) if part not in there else part for part in parts[-1:]])


def prefixes(names: Iterable[str], wanted: Names) -> tuple[str, str]:
    """Return the prefix to take off and the one to put on under which the most names are the graph's."""
    fits = Counter((off, on) for name in names for off, end in cuts(name) for on in wanted.before.get(end, ()))
    return max(fits, key=lambda pair: (fits[pair], -len("".join(pair))), default=("", ""))


def cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield a name in two, whole and at each of its first points; the second part is never empty."""
    points = itertools.islice((place for place, letter in enumerate(name) if letter == "."), MOST_PARTS)
    return ((name[:place], name[place:]) for place in (0, *(point + 1 for point in points)))
