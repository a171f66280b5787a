"""Feeds placed batches ahead of the training loop, so that a step waits for input only if input is really slower."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from . import Dataset
from .stream import Stream, epoch_of

REST_SECONDS = 0.002


class Feed:
    """An iterator over placed batches: ``next(feed)`` returns what ``place`` made of the sampler's next batch.

    A background thread keeps ``depth`` placed batches ready, and ``depth`` more in preparation so that a dataset's
    loader processes stay busy. A resident dataset has its first batch placed once and returned for ever. What the
    dataset, the sampler or ``place`` raises comes out of ``next``, as it was raised. Use it as a context manager.
    """

    def __init__(self, dataset: Dataset | Stream, sampler: Iterable[tuple[int, np.ndarray]],
                 place: Callable[[dict[str, np.ndarray]], Any], *, depth: int = 2) -> None:
        self.first_batch_sha256: str | None = None  # known once the first ``next`` has returned
        self.waited = 0.0  # seconds spent in ``next``: what input has cost the training loop so far
        self._dataset = dataset
        self._sampler = sampler
        self._place = place
        self.depth = depth
        self.ahead = 2 * depth  # batches that may lie ready
        self._line = Line(SimpleQueue(), threading.Semaphore(depth), threading.Event())
        self._begun: deque[Future[dict[str, np.ndarray]]] = deque()
        self._thread: threading.Thread | None = None
        self._items = self._resident() if dataset.resident else self._ahead()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        begin = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.waited += time.perf_counter() - begin

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def alone(self, *, seconds: float = 0.25, most: float = 3.0) -> float | None:
        """Return how many batches a second come while nobody works with them; None of a resident dataset.

        What lies ready is not counted. An input so slow that nothing else comes within ``most`` seconds is told by all
        that came: that is more than it can do.
        """
        if self._dataset.resident:
            return None
        ready, taken = self.ahead, 0
        begin = since = time.perf_counter()
        while True:
            next(self)
            taken, now = taken + 1, time.perf_counter()
            if taken == ready:
                since = now
            if taken > ready and now - since >= seconds:
                return (taken - ready) / (now - since)
            if now - begin > most:
                return taken / (now - begin)

    def close(self) -> None:
        """End the background thread, after the batch it has in hand; ``next`` raises StopIteration from then on."""
        self._items.close()

    def rest(self) -> None:
        """Wait until nothing is being prepared any more: as many batches are ready as may be, or there are no more."""
        while (self._thread and self._thread.is_alive() and not self._line.stop.is_set()
               and (self._line.ready.qsize() < self.depth or not all(one.done() for one in list(self._begun)))):
            time.sleep(REST_SECONDS)

    def _resident(self) -> Generator[Any, None, None]:
        assert isinstance(self._dataset, Dataset)
        epoch, indices = next(iter(self._sampler))
        placed = self._placed(self._dataset.batch(indices, epoch=epoch))
        while True:
            yield placed

    def _ahead(self) -> Generator[Any, None, None]:
        line = self._line
        self._thread = thread = threading.Thread(target=self._fill, args=(line,), name="feed", daemon=True)
        thread.start()
        try:
            while not isinstance(item := line.ready.get(), End):
                line.room.release()
                yield item
            if item.error:
                raise item.error
        finally:
            line.stop.set()
            line.room.release()  # wakes the thread if it waits for room
            thread.join()

    def _fill(self, line: Line) -> None:
        """Place batches in order while there is room; runs in the background thread."""
        try:
            with contextlib.closing(self._batches()) as batches:
                for batch in batches:
                    line.room.acquire()
                    if line.stop.is_set():
                        return
                    line.ready.put(self._placed(batch))
            line.ready.put(End(None))
        except BaseException as error:
            line.ready.put(End(error))

    def _batches(self) -> Generator[dict[str, np.ndarray], None, None]:
        """Yield batches in the sampler's order, ``depth`` of them in preparation at a time."""
        assert isinstance(self._dataset, Dataset)
        begun = self._begun
        pool = ThreadPoolExecutor(self.depth, thread_name_prefix="batch")
        try:
            for epoch, indices in self._sampler:
                begun.append(pool.submit(self._dataset.batch, indices, epoch=epoch))
                if len(begun) == self.depth:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _placed(self, batch: dict[str, np.ndarray]) -> Any:
        if self.first_batch_sha256 is None:
            self.first_batch_sha256 = batch_sha256(batch)
        return self._place(batch)


class StreamFeed(Feed):
    """The same of a stream's batches, epoch after epoch: its own threads and processes prepare them.

    ``given`` are places and labels of the batches that the first epoch has given so far, in the order they came.
    """

    def __init__(self, stream: Stream, place: Callable[[dict[str, np.ndarray]], Any], *, depth: int = 2) -> None:
        self.given: list[tuple[np.ndarray, np.ndarray]] = []
        self.stream = stream
        super().__init__(stream, (), place, depth=depth)
        self.ahead += stream.ahead

    def _batches(self) -> Generator[dict[str, np.ndarray], None, None]:
        for number in itertools.count():
            for rows, batch in epoch_of(self.stream, number):
                if number == 0:  # copies: of arrays in shared memory each would keep a file open
                    self.given.append((rows.copy(), batch[self.stream.source.label].copy()))
                yield batch


class End(NamedTuple):
    """Stands for the end of the batches, and for the reason if it is not that the sampler has no more."""

    error: BaseException | None


class Line(NamedTuple):
    """What the training loop and the background thread share."""

    ready: SimpleQueue[Any]
    room: threading.Semaphore  # how many batches may still be placed
    stop: threading.Event


def batch_sha256(batch: dict[str, np.ndarray]) -> str:
    """Return the SHA-256, in hexadecimal, over name, dtype, shape and bytes of each array, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(batch):
        array = batch[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
