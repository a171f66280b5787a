"""Memory bandwidth: STREAM's triad in C where there is a compiler, else NumPy's, with the bytes that each moves."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dlcompare.core.machine.memory import free_memory
from dlcompare.core.machine.topology import last_level, topology

from .probe import Absent, Probe, steadily

SOURCE = Path(__file__).with_name("triad.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
OFTEN = 4  # times as large as the last caches must each array be (STREAM's rule)
LEAST = 32 << 20  # bytes of an array where nobody tells how large the caches are
SHARE = 8  # of the free memory that one array may take
TRIAD = 24  # bytes an element: b and c read, a written
NUMPY = 40  # c read, a written in one pass; a and b read, a written in another
FACTOR = 3.0


@contextlib.contextmanager
def triad(threads: int) -> Iterator[Probe]:
    """Yield the triad over arrays that no cache holds, with so many threads."""
    size = array_bytes()
    with tempfile.TemporaryDirectory() as folder:
        built, version = build(Path(folder), threads)
        if built is None:
            yield from in_numpy(size, threads, version)
        else:
            yield in_c(built, version, size, threads)


def array_bytes() -> int:
    """Return the bytes of each of the three arrays; Absent if memory for arrays beyond the caches is not free."""
    wanted = max(LEAST, OFTEN * last_level(topology()))
    if wanted * SHARE > free_memory():
        raise Absent(f"three arrays of {wanted >> 20} MiB each, {OFTEN} times the caches, would take more than "
                     f"3/{SHARE} of the {free_memory() >> 20} MiB of memory that are free; free some")
    return wanted


def build(folder: Path, threads: int) -> tuple[ctypes.CDLL | None, str]:
    """Return the compiled triad, with OpenMP if it needs more than one thread, and what compiled it; else None and
    why."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None, "no C compiler"
    openmp = ("-fopenmp",) if threads > 1 else ()
    command = [compiler, *FLAGS, *openmp, str(SOURCE), "-o", str(folder / "triad.so")]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        library = ctypes.CDLL(str(folder / "triad.so"))
    except (OSError, subprocess.SubprocessError):
        return None, f"{Path(compiler).name} could not build it{' with OpenMP' if openmp else ''}"
    said = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True)
    return library, f"{Path(compiler).name} {said.stdout.split()[0] if said.stdout else ''}".strip()


def in_c(library: ctypes.CDLL, version: str, size: int, threads: int) -> Probe:
    """Return the triad of a compiled library."""
    count = size // 8
    arrays = [np.empty(count) for _ in range(3)]
    places = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    length, workers = ctypes.c_size_t(count), ctypes.c_int(threads)
    for place, value in zip(places, (0.0, 1.0, 2.0), strict=True):
        library.first_touch(place, ctypes.c_double(value), length, workers)
    factor, once = ctypes.c_double(FACTOR), ctypes.c_long(1)

    def step(_alive: list[np.ndarray] = arrays) -> None:
        library.triad(*places, factor, length, workers, once)

    step()
    prove(arrays)
    return Probe(steadily(step), TRIAD * count, "triad in C", version, 3 * size,
                 "bytes counted as STREAM does, 24 an element")


def in_numpy(size: int, threads: int, why: str) -> Iterator[Probe]:
    """Yield NumPy's triad, two passes: its bytes are counted as it moves them, not as STREAM would, and
    ``why`` it is not C's."""
    count = size // 8
    a, b, c = np.zeros(count), np.full(count, 1.0), np.full(count, 2.0)
    parts = [slice(count * i // threads, count * (i + 1) // threads) for i in range(threads)]

    def work(part: slice) -> None:
        np.multiply(c[part], FACTOR, out=a[part])
        np.add(a[part], b[part], out=a[part])

    with ThreadPoolExecutor(threads) as pool:
        def step() -> None:
            list(pool.map(work, parts))

        step()
        prove([a, b, c])
        yield Probe(steadily(step), NUMPY * count, "triad in NumPy", np.__version__, 3 * size,
                    f"{why}: two passes, {NUMPY} bytes an element")


def prove(arrays: list[np.ndarray]) -> None:
    """Raise ArithmeticError if the triad did not compute what it should: then nobody knows what it moved."""
    expected = 1.0 + FACTOR * 2.0
    if not (arrays[0] == expected).all():
        raise ArithmeticError(f"the triad left something else than {expected} in its array")
