"""Each probe moves the bytes that it says, on this machine itself; what cannot be measured says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcompare.core.kinds.machine import copies, disk, exchange, memory
from dlcompare.core.kinds.machine.probe import Absent, Probe
from dlcompare.core.meters.host.page_cache import drop

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler on PATH as cc")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST", 1 << 20)
    monkeypatch.setattr(memory, "OFTEN", 0)
    monkeypatch.setattr(exchange, "STEP", 4 * exchange.BLOCK)
    monkeypatch.setattr(copies, "BYTES", 1 << 20)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
def test_the_triad_in_c_is_counted_as_stream_does(threads: int) -> None:
    with memory.triad(threads) as probe:
        assert probe.by == "triad in C" and probe.amount == 3 * (1 << 20) and probe.take(3) > 0


@pytest.mark.parametrize("threads", [1, 3])
def test_without_a_compiler_numpys_bytes_are_counted_as_it_moves_them(
        threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "COMPILERS", ())
    with memory.triad(threads) as probe:
        assert probe.by == "triad in NumPy" and probe.amount == 5 * (1 << 20) and probe.take(2) > 0
        assert "no C compiler" in probe.state


def test_a_compiler_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with memory.triad(1) as probe:
        assert probe.by == "triad in NumPy" and "cc could not build it" in probe.state


def test_a_triad_that_computes_something_else_measures_nothing() -> None:
    import numpy as np

    with pytest.raises(ArithmeticError, match=r"something else than 7\.0"):
        memory.prove([np.array([7.0, 6.0])])


@pytest.mark.parametrize("compilers", [memory.COMPILERS, ()])
def test_a_triad_is_proved_before_it_is_timed(compilers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "COMPILERS", compilers)
    monkeypatch.setattr(memory, "FACTOR", float("nan"))  # which equals nothing
    with pytest.raises(ArithmeticError), memory.triad(1):
        pass


def test_arrays_that_do_not_fit_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 4 << 20)
    with pytest.raises(Absent, match="free some"), memory.triad(1):
        pass


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """Yield a folder on a file system whose pages can be dropped: the checkout's own, for /tmp may be memory."""
    folder = Path(__file__).parents[4] / "build" / f"probe-{os.getpid()}"
    folder.mkdir(parents=True)
    if disk.file_system(folder) in (*disk.IN_MEMORY, "overlay", "9p"):
        shutil.rmtree(folder)
        pytest.skip("needs the checkout to lie on a disk")
    yield folder
    shutil.rmtree(folder)


def test_a_file_is_read_cold_and_warm_and_is_gone_afterwards(on_disk: Path) -> None:
    for cold in (True, False):
        with disk.reading(on_disk, 16, cold=cold) as probe:
            assert probe.amount == 16 << 20 and probe.take(1) > 0
            assert disk.resident(on_disk / disk.FILE) == pytest.approx(1.0, abs=0.05)
            if cold:
                drop([on_disk / disk.FILE])
                assert disk.resident(on_disk / disk.FILE) < disk.COLD
    assert not list(on_disk.iterdir())


def test_each_cold_reading_comes_from_the_disk_and_no_warm_one_does(on_disk: Path) -> None:
    for cold, wanted in ((True, 3 * 16 << 20), (False, 0)):
        with disk.reading(on_disk, 16, cold=cold) as probe:
            before = from_disk()
            probe.take(3)
            assert from_disk() - before == pytest.approx(wanted, abs=1 << 20)


def from_disk() -> int:
    """Return how many bytes this process has had read from a disk."""
    return int(Path("/proc/self/io").read_text().partition("read_bytes: ")[2].split()[0])


def test_pages_that_somebody_has_mapped_cannot_be_dropped_and_that_is_told(on_disk: Path) -> None:
    import mmap

    file = on_disk / disk.FILE
    disk.fill(file, 1)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[::4096]) > 0
        with pytest.raises(Absent, match="cannot be dropped"):
            disk.cold_probe(file, None)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_a_folder_in_memory_is_no_disk() -> None:
    with pytest.raises(Absent, match="lies in memory"), disk.reading(Path("/dev/shm"), 1, cold=True):
        pass


def test_a_disk_without_room_is_absent(on_disk: Path) -> None:
    with pytest.raises(Absent, match="no file of 1 MiB can be written"):
        disk.fill(on_disk / "no such folder" / "file", 1)


def test_fios_own_seconds_count_and_it_must_have_read_all(on_disk: Path) -> None:
    file, program = on_disk / "file", on_disk / "fio"
    disk.fill(file, 1)
    program.write_text('#!/bin/sh\necho \'{"jobs": [{"read": {"io_bytes": 1048576, "runtime": 250}}]}\'\n')
    program.chmod(0o755)
    assert disk.fio(str(program), file)() == 0.25
    disk.fill(file, 2)
    with pytest.raises(Absent, match="fio read 1048576 bytes"):
        disk.fio(str(program), file)()


@pytest.mark.parametrize("milliseconds", [0, 3])
def test_a_read_too_short_for_fios_clock_has_no_rate(milliseconds: int, on_disk: Path) -> None:
    file, program = on_disk / "file", on_disk / "fio"
    disk.fill(file, 1)
    said = json.dumps({"jobs": [{"read": {"io_bytes": 1 << 20, "runtime": milliseconds}}]})
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    with pytest.raises(Absent, match=r"whole milliseconds.*--megabytes"):
        disk.fio(str(program), file)()


@pytest.mark.parametrize("way", [exchange.pipe, exchange.loopback, exchange.shared_memory])
def test_another_process_hands_bytes_over_and_is_gone_afterwards(way: object) -> None:
    before = children()
    with way() as probe:  # type: ignore[operator]
        assert isinstance(probe, Probe) and probe.amount == exchange.STEP and probe.take(2) > 0
        assert len(children()) == len(before) + 1
    assert children() == before


@pytest.mark.parametrize(("code", "way"), [("PIPE", exchange.pipe), ("MEMORY", exchange.shared_memory)])
def test_the_other_process_dying_is_told_and_nothing_hangs(
        code: str, way: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, code, "pass")
    with pytest.raises((Absent, BrokenPipeError)), way() as probe:  # type: ignore[operator]
        probe.take(1)


def children() -> set[str]:
    return set(subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()) - {""}


DRIVER = """
#include <stdlib.h>
#include <string.h>
#define OK(name, ...) int name(__VA_ARGS__) { return 0; }
OK(cuInit, unsigned f) OK(cuCtxSetCurrent, void *c) OK(cuDevicePrimaryCtxRelease_v2, int d) OK(cuCtxSynchronize, void)
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return NONE; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = 0; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "NVIDIA H200", n); return 0; }
int cuMemAlloc_v2(unsigned long long *p, size_t n) { *p = (unsigned long long) malloc(n); return 0; }
int cuMemFree_v2(unsigned long long p) { free((void *) p); return 0; }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { *p = malloc(n); return 0; }
int cuMemFreeHost(void *p) { free(p); return 0; }
int cuMemcpyHtoD_v2(unsigned long long d, void *h, size_t n) { memcpy((void *) d, h, n); return 0; }
int cuMemcpyDtoH_v2(void *h, unsigned long long d, size_t n) { memcpy(h, (void *) d, n); return 0; }
int cuMemcpyDtoD_v2(unsigned long long d, unsigned long long s, size_t n) { memmove((void *) d, (void *) s, n);
  return 0; }
int cuGetErrorName(int code, char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
"""


def driver(tmp_path: Path, *, error: int = 0) -> str:
    """Return a library with the driver's calls whose GPU is this machine's memory."""
    file = tmp_path / f"cuda-{error}.so"
    subprocess.run([str(COMPILER), "-x", "c", "-", f"-DNONE={error}", "-shared", "-fPIC", "-o", str(file)],
                   input=DRIVER, text=True, check=True)
    return str(file)


@needs_compiler
def test_copies_to_and_from_a_gpu_go_through_the_driver(tmp_path: Path) -> None:
    library = driver(tmp_path)
    for way, amount, state in (("gpu-memory", 2, "read and written"), ("gpu-host-to-device", 1, "pinned"),
                               ("gpu-device-to-host", 1, "pinned"), ("gpu-host-to-device-pageable", 1, "pageable"),
                               ("gpu-device-to-host-pageable", 1, "pageable")):
        with copies.copying(way, library) as probe:
            assert (probe.by, probe.version, probe.state) == ("NVIDIA H200", "CUDA 13", state)
            assert probe.amount == amount << 20 and probe.take(2) > 0


@needs_compiler
def test_a_driver_without_a_device_is_absent_by_its_own_word(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="cuDeviceGet of CUDA's driver failed: CUDA_ERROR_NO_DEVICE"):
        copies.Cuda(driver(tmp_path, error=100))


def test_no_driver_is_absent() -> None:
    with pytest.raises(Absent, match="cannot be loaded"):
        copies.Cuda("libcuda-that-nobody-has.so.1")
