"""``torchrun`` for one machine: its store listens on loopback alone, and its workers meet there by number.

    python -m dlcompare.frameworks.pytorch.run PORT [torchrun's options] program ...

PORT is the store's; 0 takes a free one. The stock command's store listens on every interface, and looks up names.
"""

from __future__ import annotations

import functools
import socket
import sys

from dlcompare.core.machine.ports import LOOPBACK


def listening(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback; ends the process with the reason if it cannot be had."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        sys.exit(f"port {port} on {LOOPBACK} cannot be had ({error.strerror}); name another with --port, or none")


def main() -> None:
    """Run torchrun on the command line's arguments; ends as it does."""
    from torch.distributed import run
    from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

    with listening(int(sys.argv[1])) as server:
        port = server.getsockname()[1]
        store = functools.partial(static_tcp_rendezvous.TCPStore, master_listen_fd=server.detach())  # its own now
    static_tcp_rendezvous.TCPStore = store
    run.main(["--rdzv-backend=static", f"--master-addr={LOOPBACK}", f"--master-port={port}",
              f"--local-addr={LOOPBACK}", *sys.argv[2:]])


if __name__ == "__main__":
    main()
