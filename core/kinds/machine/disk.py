"""Reading from the disk that holds the runs: cold, when the page cache has nothing of the file, and warm.

Pages are dropped by ``posix_fadvise`` after ``fsync``, which needs no rights; whether they are gone is looked at. Below
a hypervisor the disk may be its cache, so cold is called lukewarm there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from dlcompare.core.files import remedy
from dlcompare.core.machine.topology import topology
from dlcompare.core.meters.host.page_cache import drop, residency

from .probe import Absent, Probe, steadily

BLOCK = 1 << 20
WARM, COLD = 0.99, 0.05  # share of them in memory from which on, and up to which, a file is called so
FILE = "disk.bin"
LEAST_RUNTIME = 10  # of fio's milliseconds, which are whole: fewer are no measure
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


@contextlib.contextmanager
def reading(folder: Path, megabytes: int, *, cold: bool) -> Iterator[Probe]:
    """Yield the reading of a file of so many MB in a folder, from its beginning to its end, cold or warm."""
    refuse_memory(folder)
    file = folder / FILE
    try:
        fill(file, megabytes)
        program = shutil.which("fio")
        yield cold_probe(file, program) if cold else warm_probe(file, program)
    finally:
        file.unlink(missing_ok=True)


def refuse_memory(folder: Path) -> None:
    """Raise Absent if a folder lies in memory."""
    kind = file_system(folder)
    if kind in IN_MEMORY:
        raise Absent(f"{folder} lies in memory ({kind}); name a folder on the disk that holds the data with --out")


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kind of the file system that a folder lies on, "" where nobody tells."""
    with contextlib.suppress(OSError):
        rows = [line.split()[1:3] for line in mounts.read_text().splitlines()]
        above = [(place, kind) for place, kind in rows if folder.resolve().is_relative_to(place)]
        return max(above, key=lambda one: len(one[0]), default=("", ""))[1]
    return ""


def fill(file: Path, megabytes: int) -> None:
    """Write a file of random bytes, which no disk compresses, and have them reach the disk; Absent without room."""
    try:
        with file.open("wb") as out:
            for _ in range(megabytes):
                out.write(os.urandom(BLOCK))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise Absent(f"no file of {megabytes} MiB can be written in {file.parent}: {error.strerror}; "
                     f"{remedy(error)}") from error


def cold_probe(file: Path, program: str | None) -> Probe:
    """Return the reading of a file whose pages are dropped before each time."""
    drop([file])
    if (share := resident(file)) > COLD:
        raise Absent(f"the file's pages cannot be dropped: {100 * share:.0f} % are still in memory (another program "
                     "has the file open, or this file system does not drop them)")
    read = fio(program, file) if program else timed(file)

    def take(steps: int) -> float:
        total = 0.0
        for _ in range(steps):
            drop([file])
            total += read()
        return total

    below = "below a hypervisor, whose own cache may hold it" if topology().get("hypervisor") else ""
    return Probe(take, file.stat().st_size, *said(program), file.stat().st_size, below)


def warm_probe(file: Path, program: str | None) -> Probe:
    """Return the reading of a file that the page cache holds."""
    read = fio(program, file) if program else timed(file)
    read()
    if (share := resident(file)) < WARM:
        raise Absent(f"the page cache keeps {100 * share:.0f} % of a file of {file.stat().st_size >> 20} MiB; free "
                     "some memory")
    take = (lambda steps: sum(read() for _ in range(steps))) if program else steadily(read)
    return Probe(take, file.stat().st_size, *said(program), file.stat().st_size)


def said(program: str | None) -> tuple[str, str]:
    """Return what reads, and its version."""
    if program is None:
        return "read", ""
    return "fio", subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()


def timed(file: Path) -> _Read:
    return _Read(file)


class _Read:
    """Reads a file to its end in blocks and returns the seconds."""

    def __init__(self, file: Path) -> None:
        self.file, self.block = file, bytearray(BLOCK)

    def __call__(self) -> float:
        begin = time.perf_counter()
        with self.file.open("rb", buffering=0) as source:
            while source.readinto(self.block):
                pass
        return time.perf_counter() - begin


def fio(program: str, file: Path) -> _Fio:
    return _Fio(program, file)


class _Fio:
    """Has fio read a file once and returns the seconds that it counts: its own start is none of the disk's time."""

    def __init__(self, program: str, file: Path) -> None:
        self.argv = [program, "--name=read", f"--filename={file}", "--rw=read", "--bs=1M", "--ioengine=psync",
                     "--invalidate=0", "--output-format=json"]
        self.size = file.stat().st_size

    def __call__(self) -> float:
        done = subprocess.run(self.argv, capture_output=True, text=True, timeout=120, check=True)
        found = json.loads(done.stdout)["jobs"][0]["read"]
        if found["io_bytes"] != self.size:
            raise Absent(f"fio read {found['io_bytes']} bytes of a file of {self.size}")
        if found["runtime"] < LEAST_RUNTIME:
            raise Absent(f"fio counts whole milliseconds, and read {self.size >> 20} MiB in {found['runtime']}; have "
                         "more read with --megabytes")
        return float(found["runtime"]) / 1e3


def resident(file: Path) -> float:
    """Return the share of a file's pages that are in memory; Absent if nobody can tell."""
    found = residency([file])
    if found.share is None:
        raise Absent(f"nobody tells whether this file system's pages are in memory ({found.reason})")
    return found.share
