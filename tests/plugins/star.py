"""A backend with collectives and no framework: its processes meet at a socket of rank 0, and err when told to.

``STAR`` in the environment says what goes wrong, as ``WHAT:SIZE:CALL`` of rank 1: ``wrong`` changes one value of what
it was given in return, ``dies`` ends the process in the midst of the exchange, ``hangs`` stays there.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlcompare.core import hookimpl
from dlcompare.core.plugins.collectives import ALL_GATHER, ALL_REDUCE, BROADCAST, REDUCE_SCATTER, Call, Collectives
from dlcompare.frameworks.reference import Reference

ROOM, WAIT = Path("star.socket"), 30  # in the job's folder; seconds


class Star(Reference):
    """Collectives through rank 0; all_gather it has none."""

    name = "star"
    offered_collectives = dict.fromkeys((ALL_REDUCE, BROADCAST, REDUCE_SCATTER), "a socket of rank 0")
    rank_variable = "STAR_RANK"

    def processes(self, job: Any) -> int:
        return job.workers

    def command(self, job: Any, python: str) -> list[str]:
        return [python, "-m", __name__, str(job.workers), python]

    def collectives(self, job: Any) -> Collectives:
        return StarCollectives(job)


class StarCollectives(Collectives):
    """Each exchange: all send to rank 0, which works on what came and sends each its part."""

    in_place = (ALL_REDUCE,)

    def __init__(self, job: Any) -> None:
        self.job, self.rank, self.world = job, int(os.environ["STAR_RANK"]), job.workers
        self.fault = os.environ.get("STAR", "")
        self.peers: list[Any] = []
        if self.rank == 0:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(ROOM))
                server.listen()
                self.peers = sorted((server.accept()[0].makefile("rwb") for _ in range(1, self.world)),
                                    key=lambda peer: pickle.load(peer))
        else:
            deadline = time.monotonic() + WAIT
            while True:
                found = socket.socket(socket.AF_UNIX)
                try:
                    found.connect(str(ROOM))
                    break
                except OSError:
                    found.close()
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            self.peers = [found.makefile("rwb")]
            send(self.peers[0], self.rank)

    def exchange(self, value: Any, work: Callable[[list[Any]], list[Any]]) -> Any:
        if self.rank:
            send(self.peers[0], value)
            return pickle.load(self.peers[0])
        own, *others = work([value, *map(pickle.load, self.peers)])
        for peer, one in zip(self.peers, others, strict=True):
            send(peer, one)
        return own

    def barrier(self) -> None:
        self.gather(0.0)

    def gather(self, value: float) -> list[float]:
        return self.exchange(value, lambda values: [values] * len(values))

    def call(self, collective: str, payloads: Sequence[Any], *, in_place: bool) -> Call:
        return StarCall(self, collective, payloads)

    def settings(self) -> dict[str, Any]:
        return {"engine": "star"}

    def versions(self) -> dict[str, str]:
        return {"star": "1"}


class StarCall(Call):
    def __init__(self, star: StarCollectives, collective: str, payloads: Sequence[Any]) -> None:
        self.star, self.payloads, self.calls = star, payloads, 0
        self.work: Callable[[list[Any]], list[Any]] = {
            ALL_REDUCE: lambda given: [sum(given)] * len(given), BROADCAST: lambda given: given[:1] * len(given),
            ALL_GATHER: lambda given: [given] * len(given),
            REDUCE_SCATTER: lambda given: list(sum(given).reshape(len(given), -1))}[collective]

    def run(self, turn: int) -> None:
        what, _, where = self.star.fault.partition(":")
        struck = self.star.rank == 1 and where == f"{self.payloads[0].nbytes}:{self.calls}"
        if struck and what == "dies":
            os._exit(9)
        while struck and what == "hangs":
            time.sleep(1)
        self.found = self.star.exchange(self.payloads[turn], self.work)
        if struck and what == "wrong":
            self.found = self.found.copy()
            self.found[5] += 1
        self.calls += 1

    def result(self) -> Any:
        return self.found


def send(peer: Any, value: Any) -> None:
    pickle.dump(value, peer)
    peer.flush()


@hookimpl
def dlcompare_backends() -> list[Any]:
    return [Star()]


if __name__ == "__main__":
    from dlcompare.core.launch.process_group import Member, run

    count, *argv = sys.argv[1:]
    sys.exit(run([Member(f"worker of rank {rank}", argv, {"STAR_RANK": str(rank)}) for rank in range(int(count))]))
