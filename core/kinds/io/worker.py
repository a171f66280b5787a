"""What a cell's process does: read the split twice and look at what comes, or train on it; leave the raw result."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from dlcompare.core.data.checked import open_dataset
from dlcompare.core.data.feed import Feed
from dlcompare.core.data.images.decode import view_of
from dlcompare.core.data.order import epoch_order
from dlcompare.core.data.stream import NATIVE, Drawn, Source, Stream, epoch_of, source_of
from dlcompare.core.data.view import MEAN, STD
from dlcompare.core.meters.host.page_cache import residency
from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Window
from dlcompare.core.worker.ranks import leave, resident_bytes
from dlcompare.core.worker.windows import watch

from .cold import evict, files_of, hypervisor, size, source_for, used
from .request import IoJob
from .result import Pass, Pixels, RankResult
from .samples import Batches, checked
from .training import train

if TYPE_CHECKING:
    from dlcompare.core.launch.lifeline import Events

LOOKED_AT = 64  # images whose pixels are held against the neutral ones


class Neutral(Stream):
    """The neutral pipeline as a stream: a seeded permutation of the split, decoded by loader processes."""

    order, decoding = "seeded permutation, the same under every framework", "Pillow"

    def __init__(self, source: Source, job: IoJob) -> None:
        super().__init__(source)
        kind, argument = plugins().dataset(job.source)
        self.dataset = open_dataset(kind, argument, job.inputs, seed=job.seed, train=True, loaders=job.loaders[0],
                                    skip=job.skip)

    def epoch(self, number: int) -> Generator[Drawn, None, None]:
        size, batch = self.dataset.size, self.source.batch
        order = epoch_order(size, seed=self.source.seed, epoch=number)
        parts = order[: size // batch * batch].reshape(-1, batch)
        with Feed(self.dataset, [(number, part) for part in parts], lambda placed: placed) as feed:
            for part, placed in zip(parts, feed, strict=True):
                yield Drawn(part, placed)

    def close(self) -> None:
        self.dataset.close()


def work(job: IoJob, folder: Path, events: Events) -> None:
    """Measure a cell and leave its raw result."""
    if job.model:
        leave(train(job, events), folder)
        return
    events("import")
    source = source_for(job)
    files = files_of(source)
    with contextlib.closing(stream_of(job, source)) as stream:
        events("build")
        with contextlib.closing(epoch_of(stream, 0)) as begun:
            next(begun)  # starts processes, imports what they need; evicted next, so nothing of it counts
        evict(files)
        given: Batches = []
        first, _ = one_pass(stream, 0, files, events, given)
        warm = [one_pass(stream, number + 1, files, events, []) for number in range(job.windows)]
    pixels = pixels_apart(job) if job.pipeline == NATIVE else None
    leave(RankResult(first=first, second=warm[0][0], windows=tuple(window for _, window in warm), bytes=size(files),
                     files=len(files), hypervisor=hypervisor(), ids=checked(given, source), pixels=pixels,
                     settings=Choices.of(stream.settings()), versions=versions(), rss_bytes=resident_bytes()), folder)


def stream_of(job: IoJob, source: Source) -> Stream:
    """Return the pipeline that a cell is about."""
    if job.pipeline == NATIVE:
        return plugins().backend(job.framework).pipeline(source)
    return Neutral(source, job)


def one_pass(stream: Stream, number: int, files: list[Path], events: Events, given: Batches) -> tuple[Pass, Window]:
    """Take an epoch and return what it took; places and labels of its batches are put into ``given``."""
    resident, label, batches = residency(files).share, stream.source.label, 0
    events("pass", done=number)
    before, started = used(), time.time()

    def take() -> float:
        nonlocal batches
        begin = time.perf_counter()
        for rows, batch in stream.epoch(number):
            batches += 1
            given.append((rows.copy(), batch[label].copy()))  # arrays in shared memory each keep a file open
            if batches % 50 == 0:
                events("pass", done=number, samples_per_second=batches * len(rows) / (time.perf_counter() - begin))
        return time.perf_counter() - begin

    seconds, around = watch(take)
    taken, samples = used().since(before), batches * stream.source.batch
    window = Window(steps=batches, samples=samples, seconds=(seconds,), started=started,
                    foreign_cores=around.foreign_cores, throttled=around.throttled, paused=around.paused)
    return Pass(samples, seconds, taken.cpu, taken.read, resident), window


def pixels_apart(job: IoJob) -> Pixels | None:
    """Return how far a framework's evaluation view is from the neutral one; None if it gives no batch of that."""
    source = source_of(job.source, job.inputs, batch=min(job.batch, 8), loaders=1, seed=job.seed, train=False)
    scale = np.array(STD, np.float32)[:, None, None] * 255
    shift = np.array(MEAN, np.float32)[:, None, None] * 255
    apart: list[np.ndarray] = []
    with contextlib.closing(plugins().backend(job.framework).pipeline(source)) as stream:
        for rows, batch in stream.epoch(0):
            for row, image in zip(rows, batch[source.image], strict=True):
                place = source.found.place(int(row))
                ours = view_of(place, int(row), size=source.size, seed=job.seed, epoch=0, train=False)
                apart.append(np.abs(image * scale + shift - ours))
            if len(apart) >= LOOKED_AT:
                break
    if not apart:
        return None
    return Pixels(len(apart), float(np.mean([one.mean() for one in apart])), float(max(one.max() for one in apart)))


def versions() -> dict[str, Any]:
    return {"python": platform.python_version(), "pillow": PIL.__version__, "numpy": np.__version__}
