"""Which NVIDIA GPUs this machine has, and how many of them a program started here may use."""

from __future__ import annotations

import csv
import os
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any

SMI_FIELDS = ("index", "name", "memory.total", "driver_version", "power.limit")
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEV = Path("/dev")
CARDS = "nvidia[0-9]*"  # the driver makes a file for each
JETSON = "nvhost-gpu"  # has one GPU, no such files, and long had no nvidia-smi


def gpus() -> int:
    """Return how many GPUs a program started here may use: what the driver lists, less what the user hides."""
    listed = len(accelerators()) or len(list(DEV.glob(CARDS))) or int((DEV / JETSON).exists())
    return visible(os.environ.get(VISIBLE), listed)


def visible(chosen: str | None, listed: int) -> int:
    """Return how many of the GPUs listed a value of ``CUDA_VISIBLE_DEVICES`` leaves; None: it is not set.

    CUDA reads on to the first word that names no GPU and hides all that follow it (CUDA C++ Programming Guide,
    environment variables: "0,2,-1,1" is 0 and 2), and takes a list that names one twice for an empty one, as PyTorch's
    ``torch.cuda._parse_visible_devices`` does. A part of a GPU (MIG) counts as one.
    """
    if chosen is None or not listed:
        return listed
    words = list(takewhile(lambda word: _names_one(word, listed), map(str.strip, chosen.split(","))))
    return len(words) if len(set(words)) == len(words) else 0


def _names_one(word: str, listed: int) -> bool:
    return word.startswith(("GPU-", "MIG-")) or (word.isdecimal() and int(word) < listed)


def accelerators(command: str = "nvidia-smi") -> list[dict[str, Any]]:
    """Return the NVIDIA devices that the driver's tool lists; empty where there is no tool, driver or device."""
    query = [command, f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [_device(*row) for row in csv.reader(text.splitlines(), skipinitialspace=True)
            if len(row) == len(SMI_FIELDS)]


def _device(index: str, name: str, mebibytes: str, driver: str, watts: str) -> dict[str, Any]:
    memory_mib = _number(mebibytes)
    return {"index": int(index), "name": name, "memory_bytes": None if memory_mib is None else int(memory_mib * 2**20),
            "driver": driver, "power_limit_w": _number(watts)}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None
