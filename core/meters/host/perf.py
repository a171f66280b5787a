"""Linux's perf_event_open, called directly: 64-bit counters of a process and all it starts, or of a core.

``Perf`` asks the kernel; anything with its methods can stand in its place, as a recording does (``recording``).
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

SYSCALL = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
ATTR = struct.Struct("=IIQQQQQIIQ")  # perf_event_attr as first published, 64 bytes: later fields are 0
TIMES = 1 | 2  # read_format: TOTAL_TIME_ENABLED, TOTAL_TIME_RUNNING
DISABLED, INHERIT, NO_KERNEL, NO_HYPERVISOR = 1 << 0, 1 << 1, 1 << 5, 1 << 6
CLOSE_ON_EXEC = 8
ENABLE, DISABLE = 0x2400, 0x2401  # ioctls
PARANOID = Path("proc/sys/kernel/perf_event_paranoid")


@dataclass(frozen=True)
class Event:
    """One event: its name here, and the kernel's type (of a PMU) and number in it. ``cpu``: of that core as a whole,
    whoever runs on it; None: of this thread and whatever it starts from now on, in user mode."""

    name: str
    type: int
    config: int
    cpu: int | None = None


@dataclass(frozen=True)
class Count:
    """A counter's value, and for how many nanoseconds it should have counted and did: fewer if it had to share."""

    value: int
    enabled: int
    running: int


class Perf:
    """The kernel's own counters."""

    def open(self, event: Event) -> int:
        """Return a handle of an event: of a core, it is counted from now on; of a process, from :meth:`start` on.

        Raises:
            OSError: as the kernel says.
        """
        import ctypes  # some milliseconds, which only who measures pays

        if (number := SYSCALL.get(platform.machine())) is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        flags = DISABLED | INHERIT | NO_KERNEL | NO_HYPERVISOR if event.cpu is None else 0
        attr = ctypes.create_string_buffer(
            ATTR.pack(event.type, ATTR.size, event.config, 0, 0, TIMES, flags, 0, 0, 0), ATTR.size)
        pid, cpu = (0, -1) if event.cpu is None else (-1, event.cpu)
        found: int = ctypes.CDLL(None, use_errno=True).syscall(
            ctypes.c_long(number), attr, ctypes.c_int(pid), ctypes.c_int(cpu), ctypes.c_int(-1),
            ctypes.c_ulong(CLOSE_ON_EXEC))
        if found < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return found

    def start(self, handle: int) -> None:
        """Count from now on, in all that inherited the event."""
        fcntl.ioctl(handle, ENABLE, 0)

    def stop(self, handle: int) -> None:
        """Count no more, until it is started again."""
        fcntl.ioctl(handle, DISABLE, 0)

    def read(self, handle: int) -> Count:
        """Return what was counted so far, of all that inherited the event, ended or not."""
        return Count(*struct.unpack("=QQQ", os.read(handle, 24)))

    def close(self, handle: int) -> None:
        """Give a handle back."""
        os.close(handle)


def refusal(error: OSError, root: Path, *, level: int) -> str:
    """Return why the kernel opened no event, and what would change that; ``level``: the strictest that allows it."""
    if error.errno in (errno.EACCES, errno.EPERM):
        try:
            paranoid = (root / PARANOID).read_text().strip()
        except OSError:
            paranoid = "unknown"
        return (f"perf_event_open is forbidden ({os.strerror(error.errno)}; kernel.perf_event_paranoid is {paranoid}); "
                f"allow it with: sudo sysctl kernel.perf_event_paranoid={level}, or by CAP_PERFMON; in a container its "
                "seccomp profile must allow the call too")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENXIO):
        return "this machine shows no hardware counters, as most virtual machines do not"
    if error.errno == errno.ENOSYS:
        return "this kernel has no perf_event_open"
    return f"perf_event_open failed: {error.strerror}"
