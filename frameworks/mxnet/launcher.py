"""The processes of one MXNet job with several workers: the KVStore's scheduler, its servers, and the workers.

    python -m dlcompare.frameworks.mxnet.launcher PORT WORKERS program ...

PORT is the scheduler's; 0 takes a free one. Everything listens on loopback alone. MXNet's own launcher goes through ssh
or MPI, or leaves its servers behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from dlcompare.core.launch import process_group
from dlcompare.core.launch.process_group import Member
from dlcompare.core.machine.ports import LOOPBACK, free_port, free_ports

from . import Mxnet

SERVERS = 1


def members(program: Sequence[str], *, port: int, workers: int) -> list[Member]:
    """Return scheduler, servers and workers; ranks follow from the ports, lowest first, for so the KVStore has it."""
    group = {"DMLC_PS_ROOT_URI": LOOPBACK, "DMLC_PS_ROOT_PORT": str(port), "DMLC_NODE_HOST": LOOPBACK,
             "DMLC_INTERFACE": "lo", "DMLC_NUM_WORKER": str(workers), "DMLC_NUM_SERVER": str(SERVERS)}

    def helper(role: str, name: str) -> Member:
        argv = [sys.executable, "-m", f"{__package__}.kvstore_process", str(os.getpid())]
        return Member(name, argv, {**group, "DMLC_ROLE": role}, helper=True)

    def worker(rank: int, own_port: int) -> Member:
        own: Mapping[str, str] = {"DMLC_ROLE": "worker", "PORT": str(own_port), Mxnet.rank_variable: str(rank)}
        return Member(f"worker of rank {rank}", program, {**group, **own})

    return [helper("scheduler", "scheduler"), *(helper("server", "server") for _ in range(SERVERS)),
            *(worker(rank, own_port) for rank, own_port in enumerate(free_ports(workers)))]


def main() -> None:
    """Run the job that the command line asks for to its end."""
    port, workers, *program = sys.argv[1:]
    sys.exit(process_group.run(members(program, port=int(port) or free_port(), workers=int(workers))))


if __name__ == "__main__":
    main()
