"""From the names in a published file to those of a graph: wrappers and prefixes off, old spellings made new."""

from __future__ import annotations

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


def find(tree: Mapping[str, Any], graph: Graph) -> Found:
    """Return what of a file belongs to a graph: of its dictionaries the first that has the most of its parameters."""
    every = [(path, *split(one)) for path, one in dictionaries(tree)]
    matched = [match(arrays, graph.params()) for _, arrays, _ in every]
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


def match(names: Iterable[str], wanted: Collection[str]) -> dict[str, str]:
    """Return the graph's name of each name that has one; of two that come to the same the first has it."""
    there = {part for name in wanted for part in name.split(".")}
    plain = {name: unwrap(name, there) for name in names}
    off, on = prefixes(plain.values(), wanted)
    found: dict[str, str] = {}
    for name, short in plain.items():
        if short.startswith(off) and on + short[len(off):] in wanted:
            found.setdefault(on + short[len(off):], name)
    return {name: full for full, name in found.items()}


def unwrap(name: str, there: Collection[str]) -> str:
    """Return a name without wrappers and in today's spelling; ``there`` are the parts of the graph's names."""
    parts = [part for part in name.split(".") if part not in WRAPPERS or part in there]
    return ".".join(parts[:-1] + [OLD.get(part, part) if part not in there else part for part in parts[-1:]])


def prefixes(names: Iterable[str], wanted: Iterable[str]) -> tuple[str, str]:
    """Return the prefix to take off and the one to put on under which the most names are wanted ones."""
    tails = defaultdict[str, list[str]](list)
    for name in wanted:
        for on, end in cuts(name):
            tails[end].append(on)
    fits = Counter((off, on) for name in names for off, end in cuts(name) for on in tails.get(end, ()))
    return max(fits, key=lambda pair: (fits[pair], -len("".join(pair))), default=("", ""))


def cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield a name in two, whole and at each of its points; the second part is never empty."""
    return ((name[:place], name[place:]) for place in (0, *(at + 1 for at, c in enumerate(name) if c == ".")))
