"""torch.utils.data: a DataLoader on a folder of images, or on tar shards read one after the other.

PyTorch has no decoder of its own; torchvision's folders are read with Pillow, and so is this, with the neutral
pipeline's own crop and its random numbers: pixels are the same, to the bit.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from dlcompare.core.data.stream import BUFFER, FOLDER, Drawn, Source, Stream
from dlcompare.core.data.view import MEAN, STD

SCALE = np.array([1 / (255 * std) for std in STD], np.float32)[:, None, None]
SHIFT = np.array([-mean / std for mean, std in zip(MEAN, STD, strict=True)], np.float32)[:, None, None]
Item = tuple[int, torch.Tensor, int]


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """Return an image as the network reads it; in the loader's process, as torchvision's transforms do it."""
    return torch.from_numpy(pixels * SCALE + SHIFT)


class TorchLoader(Stream):
    """A DataLoader with worker processes that live as long as it."""

    decoding = "Pillow, as in the neutral pipeline; normalised in the loader's processes"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.items: Folder | Tar
        more: dict[str, Any]
        if source.format == FOLDER:
            self.items = Folder(source)
            self.sampler = DistributedSampler(self.items, source.world, source.rank, shuffle=source.augment,
                                              seed=source.seed, drop_last=True)
            more = {"sampler": self.sampler}
            self.order = "DataLoader: " + ("DistributedSampler, torch.randperm" if source.augment else "in order")
        else:
            self.items, self.sampler, more = Tar(source), None, {}
            self.order = (f"DataLoader: whole shards to {source.loaders} processes in turn, shuffled, each with a "
                          f"shuffle buffer of {BUFFER} samples and batches of its own" if source.augment else
                          "DataLoader: in the order of the shards")
        processes = source.loaders if source.augment or source.format == FOLDER else 1
        self.ahead = 2 * processes  # as many as a DataLoader's process prefetches by default
        self.loader: DataLoader[Any] = DataLoader(self.items, source.batch, num_workers=processes, drop_last=True,
                                                  persistent_workers=True, worker_init_fn=alone, **more)

    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        self.items.number.fill_(number)  # in memory that the loader's processes share: they outlive an epoch
        if self.sampler is not None:
            self.sampler.set_epoch(number)
        source = self.source
        for _, (rows, images, labels) in zip(range(source.steps), self.loader, strict=False):
            yield Drawn(rows.numpy(), {source.image: images.numpy(), source.label: labels.numpy()})

    def close(self) -> None:
        del self.loader  # its processes end with it


def alone(worker: int) -> None:
    torch.set_num_threads(1)


class Folder(Dataset[Item]):
    """Images by number."""

    def __init__(self, source: Source) -> None:
        self.source, self.number = source, torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.source.found.names)

    def __getitem__(self, row: int) -> Item:
        pixels = self.source.read(row, epoch=int(self.number))
        return row, tensor(pixels), self.source.found.labels[row]


class Tar(IterableDataset[Item]):
    """Tar shards as a stream: each process reads some of them from begin to end."""

    def __init__(self, source: Source) -> None:
        self.source, self.number = source, torch.zeros((), dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[Item]:
        epoch, worker = int(self.number), get_worker_info()
        shards, rank, count = list(self.source.files), worker.id if worker else 0, worker.num_workers if worker else 1
        if self.source.augment:
            random.Random(f"{self.source.seed} {epoch}").shuffle(shards)
        chance = random.Random(f"{self.source.seed} {epoch} {rank}")
        samples = (sample for path in shards[rank::count] for sample in self.source.stream(path))
        for row, encoded in mixed(samples, chance) if self.source.augment else samples:
            yield row, tensor(self.source.decoded(encoded, row, epoch=epoch)), self.source.found.labels[row]


def mixed(samples: Iterator[tuple[int, bytes]], chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """Yield samples through a shuffle buffer."""
    held: list[tuple[int, bytes]] = []
    for sample in samples:
        if len(held) < BUFFER:
            held.append(sample)
            continue
        place = chance.randrange(BUFFER)
        held[place], sample = sample, held[place]
        yield sample
    chance.shuffle(held)
    yield from held
