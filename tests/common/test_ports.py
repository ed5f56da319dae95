"""Who listens on a port."""

from __future__ import annotations

import os
import socket

from services.common.ports import who_listens


def test_the_process_that_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = who_listens(server.getsockname()[1])
    assert told is not None
    assert told.startswith(f"process {os.getpid()} (")


def test_a_listener_on_ipv6_is_found() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        assert f"process {os.getpid()}" in (who_listens(server.getsockname()[1]) or "")


def test_a_free_port_has_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert who_listens(port) is None


def test_a_port_that_is_only_connected_to_is_not_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert who_listens(client.getsockname()[1]) is None
