"""Servers of the echo service, each ended with its test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common.rpc.server import RunningServer, serve

sys.path.insert(0, str(Path(__file__).parent))

from echo_service import SERVICE, TOKEN, Echo

Serve = Callable[..., RunningServer]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def start(echo: Echo) -> Iterator[Serve]:
    """Starts servers of `echo` that end with the test."""
    running: list[RunningServer] = []

    def begin(**changes: Any) -> RunningServer:
        settings: dict[str, Any] = {
            "name": "echo", "address": "127.0.0.1:0", "add_servicers": echo.add_to, "services": [SERVICE],
            "internal_token": TOKEN, "ready": {},
        }  # fmt: skip
        running.append(serve(**{**settings, **changes}))
        return running[-1]

    yield begin
    echo.leave.set()
    for server in running:
        server.stop(0)
