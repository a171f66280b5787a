"""Which NVIDIA GPUs this machine has, how many of them a program started here may use, and which one it has got."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

SMI_FIELDS = ("index", "name", "memory.total", "driver_version", "power.limit")
VISIBLE = "CUDA_VISIBLE_DEVICES"
CUDA = "libcuda.so.1"  # comes with the driver
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


def cuda_uuid(ordinal: int, library: str = CUDA) -> str | None:
    """Return the UUID of a GPU by its number in this process, as CUDA counts those that it may see; None if unknown.

    Of a part of a GPU (MIG), that part's own (CUDA driver API, cuDeviceGetUuid_v2).
    """
    import ctypes  # late, as what it is for: the program starts without
    from uuid import UUID

    uuid, device = (ctypes.c_ubyte * 16)(), ctypes.c_int()
    try:
        cuda = ctypes.CDLL(library)
        refused = (cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), ordinal)
                   or cuda.cuDeviceGetUuid_v2(uuid, device))
    except (OSError, AttributeError):  # no driver, or one from before there were such names
        return None
    return None if refused else str(UUID(bytes=bytes(uuid)))


def cuda_uuids(ordinals: Iterable[int]) -> tuple[str, ...] | None:
    """Return the UUIDs of GPUs by their numbers in this process; None if one of them is not known."""
    found = [cuda_uuid(ordinal) for ordinal in ordinals]
    known = [uuid for uuid in found if uuid]
    return tuple(known) if len(known) == len(found) else None


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
