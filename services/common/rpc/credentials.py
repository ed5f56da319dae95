"""Ports and channels, plain or over TLS: the one place that makes gRPC's credentials.

A channel is made anew once its certificate was replaced on disk; calls under way end on the old one. A server asks for the
certificate at each new connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import grpc

from services.common.telemetry import address_in_use
from services.common.tls import Certificate, CertificateFiles

Options = Sequence[tuple[str, Any]]
_OLD_CHANNEL_SECONDS = 3600.0
_ABOUT_CERTIFICATES = ("handshake", "ssl_error", "verification check")
"""What gRPC's core writes of a failed connection, in small letters."""


class _Ports(Protocol):
    def add_insecure_port(self, address: str) -> int: ...

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int: ...


def bind(server: Any, address: str, certificate: CertificateFiles | None = None) -> int:
    """Adds the port to a server, of threads or asyncio; answers which was taken. Raises `FailedPrecondition` (who has it)."""
    ports: _Ports = server
    try:
        port = (
            ports.add_insecure_port(address)
            if certificate is None
            else ports.add_secure_port(address, _server_credentials(certificate))
        )
    except RuntimeError:
        port = 0
    if port == 0:
        raise address_in_use(address, "")
    return port


def channel(address: str, options: Options, certificate: CertificateFiles | None = None) -> grpc.Channel:
    """For threads."""
    if certificate is None:
        return grpc.insecure_channel(address, options=options)
    return _Renewed(certificate, lambda current: grpc.secure_channel(address, client_credentials(current), options=options))


def aio_channel(address: str, options: Options, certificate: CertificateFiles | None = None) -> grpc.aio.Channel:
    """For asyncio."""
    if certificate is None:
        return grpc.aio.insecure_channel(address, options=options)
    renewed = _AioRenewed(
        certificate, lambda current: grpc.aio.secure_channel(address, client_credentials(current), options=options)
    )
    return cast(grpc.aio.Channel, renewed)


def is_about_certificates(details: str | None) -> bool:
    """Whether a call failed because the caller doesn't take the server's certificate, or the server speaks without TLS.

    A server that doesn't take the caller's just hangs up, which looks like any other end.
    """
    return details is not None and any(words in details.lower() for words in _ABOUT_CERTIFICATES)


def client_credentials(certificate: Certificate) -> grpc.ChannelCredentials:
    """Shows the certificate, and takes those of its authorities."""
    return grpc.ssl_channel_credentials(certificate.trusted, certificate.key, certificate.chain)


def _server_credentials(certificate: CertificateFiles) -> grpc.ServerCredentials:
    """Shows the certificate; where it has authorities, takes only callers that show one of theirs."""
    told = certificate.current()

    def renewed() -> Any:
        nonlocal told
        current = certificate.current()
        if current is told:
            return None
        told = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(_configuration(told), renewed, bool(told.trusted))


def _configuration(certificate: Certificate) -> Any:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.trusted or None)


class _Renewed(grpc.Channel):
    """Each call goes over the channel of the certificate that is there now."""

    def __init__(self, certificate: CertificateFiles, make: Callable[[Certificate], grpc.Channel]) -> None:
        self._certificate, self._make = certificate, make
        self._swapping = threading.Lock()
        self._made: tuple[Certificate, grpc.Channel] | None = None

    def subscribe(self, *args: Any, **kwargs: Any) -> None:
        """See `grpc.Channel`."""
        self._now().subscribe(*args, **kwargs)

    def unsubscribe(self, *args: Any, **kwargs: Any) -> None:
        """See `grpc.Channel`."""
        self._now().unsubscribe(*args, **kwargs)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Asked for at each call: that is how gRPC's client interceptors work."""
        return self._now().unary_unary(*args, **kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return self._now().unary_stream(*args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return self._now().stream_unary(*args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """As `unary_unary`."""
        return self._now().stream_stream(*args, **kwargs)

    def close(self) -> None:
        """Cancels what runs on the present channel."""
        if self._made is not None:
            self._made[1].close()

    def __enter__(self) -> grpc.Channel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _now(self) -> grpc.Channel:
        current = self._certificate.current()
        with self._swapping:
            if self._made is None or self._made[0] is not current:
                self._made = (current, self._make(current))  # the old one lives as long as its calls
            return self._made[1]


class _AioRenewed:
    """The asyncio twin."""

    def __init__(self, certificate: CertificateFiles, make: Callable[[Certificate], grpc.aio.Channel]) -> None:
        self._certificate, self._make = certificate, make
        self._made: tuple[Certificate, grpc.aio.Channel] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A method of this kind."""
        return self._method("unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """A method of this kind."""
        return self._method("unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """A method of this kind."""
        return self._method("stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """A method of this kind."""
        return self._method("stream_stream", args, kwargs)

    async def __aenter__(self) -> _AioRenewed:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the present channel, and what is left of older ones."""
        for task in self._closing:
            task.cancel()
        if self._made is not None:
            await self._made[1].close(grace)

    def _method(self, kind: str, args: Any, kwargs: Any) -> Callable[..., Any]:
        made: tuple[grpc.aio.Channel, Callable[..., Any]] | None = None

        def call(*request: Any, **options: Any) -> Any:
            nonlocal made
            now = self._now()
            if made is None or made[0] is not now:
                made = (now, getattr(now, kind)(*args, **kwargs))
            return made[1](*request, **options)

        return call

    def _now(self) -> grpc.aio.Channel:
        current = self._certificate.current()
        if self._made is None or self._made[0] is not current:
            if self._made is not None:
                self._close_later(self._made[1])
            self._made = (current, self._make(current))
        return self._made[1]

    def _close_later(self, old: grpc.aio.Channel) -> None:
        """Once its calls have ended: garbage collection would cut them."""
        task = asyncio.ensure_future(old.close(_OLD_CHANNEL_SECONDS))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
