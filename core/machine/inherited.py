"""Which of the user's environment variables processes of ours inherit: none that would make them other than they are.

A shell may hold the variables of another launcher (inside a Slurm job, or left by one of its own), proxies that not
even loopback is kept from, and switches of Python's own, such as the one that leaves every ``assert`` out.
"""

from __future__ import annotations

import os
import re

LAUNCHERS = re.compile("|".join((  # who a process is among others, and where they meet; never how one is tuned
    "(LOCAL_|GROUP_|ROLE_)?RANK", "(LOCAL_|GROUP_|ROLE_)?WORLD_SIZE", "ROLE_NAME", "NODE_RANK", "NNODES",
    "MASTER_(ADDR|PORT)", "TF_CONFIG",
    "(TORCHELASTIC|PET|OMPI|PMI|PMIX|PRTE|MPI|SLURM|SLURMD|DMLC|PALS|LSB|JSM|FLUX)_.*",
    "HOROVOD_(RANK|SIZE|(LOCAL|CROSS)_(RANK|SIZE)|HOSTNAME|CONTROLLER|CPU_OPERATIONS|ELASTIC|RENDEZVOUS_.*|GLOO_.*)",
    "JAX_(COORDINATOR_.*|NUM_PROCESSES|PROCESS_ID|LOCAL_DEVICE_IDS)")))
PROXIES = re.compile("(HTTP|HTTPS|FTP|ALL|GRPC|SOCKS)_PROXY", re.IGNORECASE)
PYTHON = re.compile("PYTHON.*")
# They would lead packages past an environment.
PIP = re.compile("PIP_(TARGET|PREFIX|ROOT)")


def for_workers() -> dict[str, str]:
    """Return what a worker inherits: no launcher's variables, no switches of Python, no proxy, for it meets others."""
    return without(LAUNCHERS, PROXIES, PYTHON)


def for_python() -> dict[str, str]:
    """Return what an interpreter of an environment inherits that may ask the network, as pip does."""
    return without(LAUNCHERS, PYTHON, PIP)


def without(*patterns: re.Pattern[str]) -> dict[str, str]:
    """Return this process's variables but for those of which a pattern covers the whole name."""
    return {name: value for name, value in os.environ.items() if not any(p.fullmatch(name) for p in patterns)}
