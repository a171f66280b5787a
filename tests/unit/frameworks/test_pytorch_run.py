"""What our door to torchrun finds out before it starts anything; PyTorch itself is not needed."""

import socket

import pytest

from dlcompare.frameworks.pytorch.run import listening


def test_the_stores_socket_is_on_loopback_alone() -> None:
    with listening(0) as server:
        assert server.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port} on 127.0.0.1 cannot be had .*name another with --port"):
            listening(port)
