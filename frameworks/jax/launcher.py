"""Starts the processes of a JAX job: ``python -m dlcompare.frameworks.jax.launcher PORT PROCESSES program ...``.

JAX brings no launcher. PORT is the coordinator's, on loopback; 0 takes a free one.
"""

from __future__ import annotations

import sys

from dlcompare.core.launch.process_group import Member, run
from dlcompare.core.machine.ports import LOOPBACK, free_port


def main() -> None:
    """Start every process with its rank, and end with the exit code of the first that fails."""
    port, count, argv = int(sys.argv[1]) or free_port(), int(sys.argv[2]), sys.argv[3:]
    where = {"DLCOMPARE_COORDINATOR": f"{LOOPBACK}:{port}", "DLCOMPARE_WORLD": str(count)}
    sys.exit(run([Member(f"process of rank {rank}", argv, {**where, "DLCOMPARE_RANK": str(rank)})
                  for rank in range(count)]))


if __name__ == "__main__":
    main()
