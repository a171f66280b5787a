"""``horovodrun`` for one machine: its rendezvous server listens on loopback alone, and it starts without any framework.

    python -m dlcompare.frameworks.horovod.run PORT [horovodrun's options] program ...

PORT is the server's; 0 takes a free one. The stock command listens on every interface, and imports the frameworks that
Horovod was built for in a process of its own (some seconds) only to ask whether Gloo is there, which the workers find
out by themselves.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from dlcompare.core.machine.ports import LOOPBACK


def on_loopback(make: Callable[[tuple[str, int]], Any], port: int) -> tuple[Any, int]:
    """Return the server that ``make`` builds of an address, and its port; what Horovod calls to find a port."""
    try:
        server = make((LOOPBACK, port))
    except OSError as error:
        sys.exit(f"port {port} on {LOOPBACK} cannot be had ({error.strerror}); name another with --port, or none")
    return server, server.server_port


def check_own_name() -> None:
    """End the process with the reason if Gloo, which looks this host's name up, cannot listen where that leads.

    ``HOROVOD_GLOO_IFACE`` says where it shall, and ``InitializeForProcessSet`` of Horovod 0.28.1 does not heed it.
    """
    name = socket.gethostname()
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM):
            with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
                return
    except (OSError, UnicodeError) as error:  # the name is not known, or too long to be one
        sys.exit(f"Horovod looks up this host's own name, {name}, and fails ({error}); "
                 f"add the line `{LOOPBACK} {name}` to /etc/hosts")
    sys.exit(f"Horovod looks up this host's own name, {name}, and none of its addresses is of this host; "
             f"let the line of {name} in /etc/hosts be `{LOOPBACK} {name}`")


def main() -> None:
    """Run horovodrun on the command line's arguments; one line and exit code 1 if a worker fails."""
    from horovod.runner import launch
    from horovod.runner.http import http_server
    from horovod.runner.util import network

    port = int(sys.argv.pop(1))
    check_own_name()
    http_server.find_port = lambda make: on_loopback(make, port)
    network.get_driver_ip = lambda interfaces: LOOPBACK
    launch.gloo_built = lambda verbose=False: True
    try:
        launch.run_commandline()
    except RuntimeError as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
