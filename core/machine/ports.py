"""Ports of loopback, where the processes of one job meet."""

from __future__ import annotations

import errno
import socket


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> list[int]:
    """Return so many different free ports, lowest first."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def port_trouble(port: int) -> str | None:
    """Return why workers cannot meet at this loopback port; None if they can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
            return f"port {port} on loopback {what}; name another with --port, or none to let the launcher choose"
    return None
