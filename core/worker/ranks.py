"""How a rank says who it is and leaves its raw result for the parent to fold."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

from dlcompare.core.files import write
from dlcompare.core.plugins.backend import Backend
from dlcompare.core.typed_json import to_plain
from dlcompare.core.variables import rank_file


def known_rank(backend: Backend) -> dict[str, int]:
    """Return this worker's rank as its launcher told it, for the program that looks for a missing one."""
    told = os.environ.get(backend.rank_variable, "")
    return {"rank": int(told)} if told.isdigit() else {}


def leave(result: Any, folder: Path, *, rank: int = 0) -> None:
    """Write a rank's raw result, a dataclass; a number that is not finite becomes null."""
    write(folder / rank_file(rank), json.dumps(to_plain(result), indent=1, allow_nan=False))


def resident_bytes() -> int:
    """Return the most host memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
