"""Input as a framework's own pipeline gives it: a stream in an order of its own, without random access.

The neutral pipeline gives every framework the same batches. A pipeline of its own gives the same samples, each once an
epoch, in an order and through decoders that are its own: both are told in words, and what came is held against the data
(``given``).
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcompare.core.errors import JobError, UsageError
from dlcompare.core.graph import Input

if TYPE_CHECKING:
    import numpy as np

    from .images.listing import Listing

NEUTRAL, NATIVE = PIPELINES = ("neutral", "native")
FOLDER = "imagefolder"
BUFFER = 1000  # samples of a shuffle buffer: what tutorials write, and a memory that is known


class Drawn(NamedTuple):
    """A batch of a stream: the places of its samples in the split, and its arrays by input name."""

    rows: np.ndarray
    batch: dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """What a pipeline reads: a rank's share of one split, in batches of one size.

    ``image`` and ``label`` name the inputs, ``size`` is the image's height and width; ``loaders`` are the processes or
    threads it may use; ``augment``: random crops and flips, else the evaluation view.
    """

    format: str
    found: Listing
    image: str
    label: str
    size: tuple[int, int]
    batch: int
    loaders: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    augment: bool = True

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has for each rank; what is left over is dropped."""
        return len(self.found.names) // (self.batch * self.world)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the shards in order; none of a folder of images."""
        return tuple(getattr(self.found, "shards", ()))

    def read(self, row: int, *, epoch: int) -> np.ndarray:
        """Return a sample's view as the neutral pipeline cuts it, uint8 (3, height, width), for frameworks that have no
        decoder of their own.

        Raises:
            JobError: it cannot be read; the message says where it is.
        """
        return self.decoded(None, row, epoch=epoch)

    def stream(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Yield place in the split and encoded image of the samples of a tar shard of ours, as they come.

        Raises:
            JobError: the shard is damaged; the message names file and byte.
        """
        from .records.webdataset import samples_of

        try:
            yield from samples_of(path)
        except ValueError as damage:
            raise JobError(f"{damage}; --pipeline neutral --on-bad-sample skip leaves it out") from damage

    def decoded(self, image: bytes | None, row: int, *, epoch: int) -> np.ndarray:
        """Return the same of its encoded bytes where they have been read already."""
        from .images.decode import view_of

        return view_of(self.found.place(row), row, size=self.size, seed=self.seed, epoch=epoch, train=self.augment,
                       image=image)


class Stream(ABC):
    """What a framework's own pipeline gives. ``order`` and ``decoding`` say in words what is its own in both; ``ahead``
    is how many batches its own threads or processes hold ready at most.
    """

    order: str
    decoding: str
    ahead = 0
    resident = False  # as a dataset says it

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        """Yield the batches of an epoch, each sample of it at most once, ``source.steps`` of them.

        Raises:
            JobError: a sample cannot be read.
        """

    def close(self) -> None:
        """Stop the processes and threads that it started."""

    def settings(self) -> dict[str, str]:
        """Return what a ledger should show of it."""
        return {"input_order": self.order, "input_decoding": self.decoding}


def epoch_of(stream: Stream, number: int) -> Generator[Drawn, None, None]:
    """Yield the batches of an epoch; JobError if there is not one, for whoever waits for it would wait for ever."""
    none = True
    with contextlib.closing(stream.epoch(number)) as epoch:
        for drawn in epoch:
            none = False
            yield drawn
    if none:
        raise JobError(f"the pipeline gives not one batch of {stream.source.batch} in an epoch: of its "
                       f"{stream.source.loaders} loaders each has fewer samples than that; lower --loaders or --batch, "
                       "or prepare smaller shards")


def source_of(data: str, inputs: Mapping[str, Input], *, batch: int, loaders: int, train: bool = True,
              skip: Collection[str] = (), numbered: bool = True, **share: Any) -> Source:
    """Return what a pipeline is to read of ``imagefolder:DIR`` or of a folder of shards, less the samples to ``skip``;
    ``share`` as Source. ``numbered``: shards must have been prepared.

    Raises:
        UsageError: there is no such folder, shards were not prepared (they then hold no number of each sample, by which
            one is known again), or fewer samples than a batch.
    """
    from .images.dataset import input_names
    from .images.listing import listing, root_folder
    from .records.index import manifest_of, shards_of

    format_, _, argument = data.partition(":")
    if format_ == FOLDER:
        found: Listing = listing(root_folder(argument), train=train)
    elif numbered and manifest_of(Path(argument).expanduser()) is None:
        raise UsageError(f"{data} was not prepared by dlcompare, so its records hold no number by which a sample is "
                         "known again; prepare it, or use --pipeline neutral")
    else:
        found = shards_of(argument, format_, train=train)
    found = found.without(skip)
    image, label = input_names(inputs, found, dataset=format_)
    height, width = inputs[image].shape[1:]
    source = Source(format_, found, image, label, (height, width), batch, loaders, augment=train, **share)
    if not source.steps:
        raise UsageError(f"{data} has {len(found.names)} samples, and one step takes {batch * source.world}; lower "
                         "--batch")
    return source
