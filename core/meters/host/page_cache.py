"""How much of some files the page cache holds, asked without root and without reading them in.

``cachestat`` (Linux 6.5) tells the owner of a file, ``mincore`` on a mapping tells who may write it; to others the
former says nothing and the latter *that all is there*, so it is not asked. What is left is to read a byte at a few
places and refuse to wait, which may start a little reading ahead. None of this says what a hypervisor or a storage
server holds.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import platform
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHESTAT = 451  # on every architecture (include/uapi/asm-generic/unistd.h)
PAGE = mmap.PAGESIZE
PLACES = 64  # of a file, that are tried where nothing but trying is allowed
MOST_FILES = 512  # that are asked, evenly spread, where there are more
CACHESTAT_WAY, MINCORE_WAY, NOWAIT_WAY = "cachestat", "mincore", "RWF_NOWAIT"


@dataclass(frozen=True)
class Residency:
    """How much of some files the page cache holds.

    ``share``: of their bytes, 0 to 1; None if nobody can tell, for ``reason``; ``ways`` by which the kernel was asked;
    ``files`` that were asked ``of`` how many, and their ``bytes``.
    """

    share: float | None
    files: int = 0
    of: int = 0
    bytes: int = 0
    ways: tuple[str, ...] = ()
    reason: str | None = None


def residency(files: Sequence[Path]) -> Residency:
    """Return how much of these files is resident; of many, as those tell that are asked."""
    count = min(len(files), MOST_FILES)
    asked = [files[number * len(files) // count] for number in range(count)]
    resident, total, ways = 0.0, 0, list[str]()
    for file in asked:
        try:
            with opened(file) as handle:
                size = size_of(handle)
                share, way = resident_share(handle, size)
        except OSError as error:
            return Residency(None, of=len(files), reason=f"{file} cannot be asked: {error.strerror}")
        resident, total = resident + share * size, total + size
        ways += [way] * (way not in ways)
    if not total:
        return Residency(None, of=len(files), reason="there are no files, or all are empty")
    return Residency(resident / total, len(asked), len(files), total, tuple(ways))


def size_of(handle: int) -> int:
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is not a file")
    return about.st_size


def resident_share(handle: int, size: int) -> tuple[float, str]:
    """Return how much of an open file of so many bytes is resident, 0 to 1, and by which way that is known.

    Raises:
        OSError: no way is open.
    """
    if not size:
        return 0.0, CACHESTAT_WAY
    pages = -(-size // PAGE)
    try:
        return min(1.0, cachestat(handle)["cached"] / pages), CACHESTAT_WAY
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP):
            raise
    if trusted(handle):
        return sum(mincore(handle, size)) / pages, MINCORE_WAY
    return tried(handle, size), NOWAIT_WAY


def cachestat(handle: int) -> dict[str, int]:
    """Return the pages of an open file that are cached, dirty, being written, evicted, and evicted of late.

    Raises:
        OSError: ENOSYS before Linux 6.5, EPERM for a file that is another user's and not writable.
    """
    counts = bytes(40)
    found = syscall(CACHESTAT, handle, struct.pack("=QQ", 0, 0), counts, 0)
    return dict(zip(("cached", "dirty", "writeback", "evicted", "recently_evicted"),
                    struct.unpack("=5Q", found), strict=True))


def syscall(number: int, handle: int, span: bytes, room: bytes, flags: int) -> bytes:
    """Return what a system call has written where ``room`` was left for it."""
    import ctypes

    if platform.system() != "Linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    into = ctypes.create_string_buffer(room, len(room))
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(ctypes.c_long(number), ctypes.c_uint(handle), ctypes.create_string_buffer(span, len(span)), into,
                       ctypes.c_uint(flags)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return into.raw


def trusted(handle: int) -> bool:
    """Return whether ``mincore`` tells this user the truth of a file: it does to its owner, and to who may write it."""
    if os.geteuid() in (0, os.fstat(handle).st_uid):
        return True
    return os.access(f"/proc/self/fd/{handle}", os.W_OK)


def mincore(handle: int, size: int) -> list[bool]:
    """Return of each page of an open file whether it is resident. Raises OSError as the kernel says."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    address = library.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, handle, ctypes.c_long(0))
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        found = ctypes.create_string_buffer(-(-size // PAGE))
        if library.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), found):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return [bool(byte & 1) for byte in found.raw]
    finally:
        library.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def tried(handle: int, size: int) -> float:
    """Return the share of some places, evenly spread, that could be read without waiting."""
    step = max(PAGE, -(-size // PLACES) // PAGE * PAGE)
    places = range(0, size, step)
    return sum(at_once(handle, place) for place in places) / len(places)


def at_once(handle: int, place: int) -> bool:
    try:
        return bool(os.preadv(handle, [bytearray(1)], place, os.RWF_NOWAIT))
    except BlockingIOError:
        return False


@contextlib.contextmanager
def opened(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def drop(files: Sequence[Path]) -> None:
    """Have the kernel drop the pages of files once, which needs the right to read them and no more.

    Dirty pages would only begin to be written, so they are brought to the disk first.
    """
    for file in files:
        with contextlib.suppress(OSError), opened(file) as handle:  # whoever reads it says what is wrong with it
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
