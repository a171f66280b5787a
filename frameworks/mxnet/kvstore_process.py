"""One scheduler or server of MXNet's KVStore, which lives no longer than the launcher that started it.

    python -m dlcompare.frameworks.mxnet.kvstore_process LAUNCHER

LAUNCHER is that process' number; DMLC_ROLE says what this one is, and importing MXNet does the work.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from dlcompare.core.launch.lifeline import reason_left

from . import Mxnet

CHECK_SECONDS = 0.5


def leave_with(launcher: int) -> None:
    """End this process, whatever it is doing, as soon as it is the launcher's child no more."""
    while os.getppid() == launcher:
        time.sleep(CHECK_SECONDS)
    os._exit(3)


def main() -> None:
    """Serve until told to stop; if MXNet cannot be imported, leave the reason in the job's folder."""
    threading.Thread(target=leave_with, args=(int(sys.argv[1]),), daemon=True).start()
    with reason_left(Path()):
        Mxnet().load()


if __name__ == "__main__":
    main()
