"""Loader processes: decode image files beside the worker, and neither outlive it nor hang it.

Each loader is ``python -m dlcompare.core.data.images.decode`` on a pair of pipes of its own. A request is a JSON line
(``{"epoch": 0, "samples": [[path, index], ...]}``); the reply is one line of JSON (``{"error": null}``) and, without
an error, the bytes of the uint8 pixels. A pipe per process is what makes death visible: when a loader dies its reply
ends, be it in the middle, and when the worker dies, be it by SIGKILL, the loader's requests end and it leaves.
concurrent.futures' pool, whose processes share one pipe, hangs in the first case and leaks processes in the second.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from dlcompare.core.errors import JobError

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Loaders:
    """``count`` loader processes, each started when it is first needed and served by a thread of its own.

    ``settings`` are the keyword arguments of ``decode.serve``. Any thread may submit.
    """

    def __init__(self, count: int, *, settings: Mapping[str, Any]) -> None:
        self._settings = json.dumps(settings)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="loader")
        self._local = threading.local()
        self._started: list[Loader] = []

    def submit(self, samples: Sequence[tuple[str, int]], *, epoch: int, out: np.ndarray) -> Future[None]:
        """Have (path, index) samples decoded into ``out``, uint8 (len(samples), 3, height, width).

        The future raises JobError if a file cannot be read or the loader process is dead.
        """
        return self._threads.submit(self._ask, json.dumps({"epoch": epoch, "samples": samples}), out)

    def close(self) -> None:
        """Stop all processes; what has not begun is cancelled, the few samples in hand are finished."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for loader in self._started:
            loader.stop()

    def _ask(self, request: str, out: np.ndarray) -> None:
        if not hasattr(self._local, "loader"):
            self._local.loader = Loader(self._settings)
            self._started.append(self._local.loader)
        self._local.loader.ask(request, out)


class Loader:
    """One loader process, used by one thread."""

    def __init__(self, settings: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "dlcompare.core.data.images.decode", settings],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD})

    def ask(self, request: str, out: np.ndarray) -> None:
        """Send one request and fill ``out`` with the reply; JobError if that cannot be."""
        header = self._header(request)
        if header and (error := json.loads(header)["error"]):
            raise JobError(error)
        self._pixels(out)

    def stop(self) -> None:
        """End the process, which holds nothing worth keeping, and reap it."""
        self.process.kill()
        self.process.communicate()

    def _header(self, request: str) -> bytes:
        """Return the first line of the reply, empty if the process is dead."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            return line if line.endswith(b"\n") else b""
        return b""

    def _pixels(self, out: np.ndarray) -> None:
        """Read the rest of the reply; JobError if the process dies before its end."""
        assert isinstance(self.process.stdout, io.BufferedReader)
        if self.process.stdout.readinto(out.data.cast("B")) != out.nbytes:
            raise JobError(self._epitaph())

    def _epitaph(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        code = self.process.returncode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return (f"loader process {self.process.pid} {how} while it decoded images; if memory ran out, use fewer "
                "--workers or a smaller --batch; otherwise the job's log has its last words")
