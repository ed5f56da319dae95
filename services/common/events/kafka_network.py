"""How clients of kafka-python come into being, and never wait without end while they do."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

Client = TypeVar("Client")


class BoundedNetwork(NetworkSelector):  # type: ignore[misc]  # without types
    """kafka-python bounds what it waits for, but for a TLS handshake: a broker that is frozen kept its client for ever."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self._handshake_seconds: float = configs["request_timeout_ms"] / 1000

    def wait_read(self, fileobj: Any, timeout_at: float | None = None) -> Any:
        """The same, with an end while a handshake isn't over."""
        return super().wait_read(fileobj, self._end(fileobj, timeout_at))

    def wait_write(self, fileobj: Any, timeout_at: float | None = None) -> Any:
        """The same, with an end while a handshake isn't over."""
        return super().wait_write(fileobj, self._end(fileobj, timeout_at))

    def _end(self, fileobj: object, timeout_at: float | None) -> float | None:
        if timeout_at is None and isinstance(fileobj, ssl.SSLSocket) and fileobj.version() is None:
            return time.monotonic() + self._handshake_seconds
        return timeout_at


def opened(make: Callable[..., Client], options: Mapping[str, Any]) -> Client:
    """A client of kafka-python. Where it can't be made, its thread and sockets go too: kafka-python leaves them behind."""
    networks: list[KafkaNetClient] = []

    def network(**configs: Any) -> KafkaNetClient:
        networks.append(KafkaNetClient(net=BoundedNetwork(**configs), **configs))
        return networks[0]

    try:
        return make(kafka_client=network, **options)
    except BaseException:
        for one in networks:
            with contextlib.suppress(Exception):
                one.close()
        raise
