"""What one process hands to another in a second: through a pipe, over loopback, by memory that both see."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dlcompare.core.machine.ports import LOOPBACK, PATIENCE

from .probe import Absent, Probe, steadily

BLOCK = 1 << 20
STEP = 64 * BLOCK  # bytes of a step
SLOTS = 4  # of shared memory: one is filled while another is emptied
SHARED = Path("/dev/shm")

# The other process. Each ends when this one has gone: its pipe or connection is closed then.
PIPE = f"""
import os
block = memoryview(os.urandom({BLOCK}))
try:
    while True:
        sent = 0
        while sent < len(block):
            sent += os.write(1, block[sent:])
except OSError:
    pass
"""
LOOP = f"""
import os, socket, sys
block = os.urandom({BLOCK})
try:
    with socket.create_connection(("{LOOPBACK}", int(sys.argv[1]))) as line:
        while True:
            line.sendall(block)
except OSError:
    pass
"""
MEMORY = f"""
import mmap, os, sys
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), {SLOTS * BLOCK})
block, slot = os.urandom({BLOCK}), 0
try:
    while os.read(0, 1):
        shared[slot * {BLOCK}:(slot + 1) * {BLOCK}] = block
        os.write(1, b".")
        slot = (slot + 1) % {SLOTS}
except OSError:
    pass
"""


@contextlib.contextmanager
def pipe() -> Iterator[Probe]:
    """Yield the reading from a pipe that another process fills."""
    with other(PIPE) as process:
        assert process.stdout
        yield receiving(process.stdout.readinto, "pipe")  # type: ignore[attr-defined]


@contextlib.contextmanager
def loopback() -> Iterator[Probe]:
    """Yield the reading from a connection over loopback that another process fills."""
    with socket.create_server((LOOPBACK, 0)) as server, other(LOOP, str(server.getsockname()[1])):
        server.settimeout(PATIENCE)
        with server.accept()[0] as line:
            yield receiving(line.recv_into, "TCP over loopback", congestion(line))


@contextlib.contextmanager
def shared_memory() -> Iterator[Probe]:
    """Yield the copying out of memory into which another process copies; each slot is handed over by a byte."""
    with contextlib.ExitStack() as stack:
        folder = SHARED if SHARED.is_dir() else None
        file = stack.enter_context(tempfile.NamedTemporaryFile(dir=folder))
        file.truncate(SLOTS * BLOCK)
        process = stack.enter_context(other(MEMORY, file.name))
        seen = stack.enter_context(contextlib.closing(mmap.mmap(file.fileno(), SLOTS * BLOCK)))
        assert process.stdin and process.stdout
        filled, wanted = process.stdout.fileno(), process.stdin.fileno()
        own, slot = bytearray(BLOCK), 0
        os.write(wanted, b"." * SLOTS)

        def once() -> None:
            nonlocal slot
            for _ in range(STEP // BLOCK):
                if not os.read(filled, 1):
                    raise Absent("the process that fills the shared memory has ended")
                own[:] = memoryview(seen)[slot * BLOCK:(slot + 1) * BLOCK]
                slot = (slot + 1) % SLOTS
                os.write(wanted, b".")

        yield Probe(steadily(once), STEP, "shared memory", platform.release(), SLOTS * BLOCK)


@contextlib.contextmanager
def other(code: str, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that runs a program of a few lines, and see that it is gone afterwards."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code, *argv], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream
            stream.close()


def receiving(into: Callable[[memoryview], int | None], by: str, state: str = "") -> Probe:
    """Return the receiving of bytes from another process."""
    block = memoryview(bytearray(BLOCK))

    def once() -> None:
        left = STEP
        while left:
            got = into(block[:min(left, BLOCK)])
            if not got:
                raise Absent(f"the process at the other end of the {by} has ended")
            left -= got

    return Probe(steadily(once), STEP, by, platform.release(), BLOCK, state)


def congestion(line: socket.socket) -> str:
    """Return by what rule this connection keeps back, for results differ by it; "" where nobody tells."""
    with contextlib.suppress(OSError, AttributeError):
        name = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        return f"congestion control {name.rstrip(bytes(1)).decode()}"
    return ""
