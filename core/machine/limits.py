"""Limits that a shell sets for all it starts (``ulimit``), named where a job meets one, lest memory be blamed."""

from __future__ import annotations

import re
import resource

from .memory import ran_out

FEWEST_FILES = 64  # that a process must be able to hold open; two workers of some frameworks hang with 16
FILES = re.compile(r"Too many open files|EMFILE|ENFILE")
PROCESSES = re.compile(r"can.?t start new thread|Resource temporarily unavailable|pthread_create")


def set_to(number: int) -> int | None:
    """Return what a limit of this process, which its children inherit, is set to; None if it is not."""
    soft, _ = resource.getrlimit(number)
    return None if soft == resource.RLIM_INFINITY else soft


def too_few_files() -> str | None:
    """Return why nothing can be started under the limit on open files; None if that is high enough."""
    files = set_to(resource.RLIMIT_NOFILE)
    if files is None or files >= FEWEST_FILES:
        return None
    return (f"a process may hold {files} files open here, and a framework's need {FEWEST_FILES} or more; raise that "
            "limit (ulimit -n 1024)")


def warn_before_time_is_up() -> None:
    """Have the system warn this process and its children by SIGXCPU a second before it kills them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft == hard and hard > 1:  # RLIM_INFINITY is -1
        resource.setrlimit(resource.RLIMIT_CPU, (hard - 1, hard))


def processor_time() -> str | None:
    """Return in words which limit ends a process that has worked for long; None if none does."""
    seconds = set_to(resource.RLIMIT_CPU)
    return None if seconds is None else (
        f"a process is ended here once it has taken {seconds} s of processor time; raise that limit (ulimit -t)")


def met(text: str) -> str | None:
    """Return in words the limit that somebody met who says so; None if none is set that it could be."""
    files, processes, space = map(set_to, (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS))
    if space is not None and (ran_out(text) or PROCESSES.search(text)):
        return f"a process may take {space / 2**30:.2f} GiB of addresses here; raise that limit (ulimit -v)"
    if files is not None and FILES.search(text):
        return f"a process may hold {files} files open here; raise that limit (ulimit -n)"
    if processes is not None and PROCESSES.search(text):
        return f"a user may run {processes} processes and threads here; raise that limit (ulimit -u)"
    return None
