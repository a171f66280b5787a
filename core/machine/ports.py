"""Loopback and its ports, where the processes of one job meet: by number, for its name may not be known."""

from __future__ import annotations

import errno
import socket

LOOPBACK = "127.0.0.1"
PATIENCE = 5.0  # seconds: a connection over loopback takes none


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> list[int]:
    """Return so many different free ports, lowest first."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def meeting_trouble(port: int | None) -> str | None:
    """Return why workers cannot meet on loopback, at a port if one was named; None if they can."""
    return loopback_trouble() or (port_trouble(port) if port else None)


def loopback_trouble() -> str | None:
    """Return why nothing can be reached over loopback; None if it can."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=PATIENCE).close()
    except OSError as error:
        return (f"loopback does not work: {LOOPBACK} cannot be reached ({error.strerror or error}), and workers meet "
                "there; switch it on with `ip link set lo up` (as root), and see that no firewall closes it")
    return None


def port_trouble(port: int) -> str | None:
    """Return why workers cannot meet at this loopback port; None if they can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
            return f"port {port} on loopback {what}; name another with --port, or none to let the launcher choose"
    return None
