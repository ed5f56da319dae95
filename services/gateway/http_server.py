"""Uvicorn on a socket of ours, plain or over TLS: it starts and stops with the gateway's gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from services.common.telemetry import address_in_use
from services.common.tls import Certificate, CertificateFiles

_LOOK_EVERY_SECONDS = 5.0


class HttpServer:
    """Serves an ASGI app from `start` to `stop`. Belongs to the event loop."""

    def __init__(self, app: Any, *, drain_seconds: float, certificate: CertificateFiles | None) -> None:
        self._certificate = certificate
        self._loaded: Certificate | None = None
        config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=75,
            timeout_graceful_shutdown=round(drain_seconds),
            ssl_context_factory=None if certificate is None else lambda _, __: self._context(),
        )  # fmt: skip
        self._in_use: ssl.SSLContext | None = None
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Returns once it takes connections."""
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.005)
        if self._certificate is not None:
            self._looking = asyncio.ensure_future(self._keep_fresh(self._certificate))

    async def stop(self) -> None:
        """Takes no new call and lets the running ones finish."""
        self._server.should_exit = True
        if self._looking is not None:
            self._looking.cancel()
        if self._serving is not None:
            await self._serving

    def cut(self) -> None:
        """Ends a drain at once."""
        self._server.force_exit = True

    def _context(self) -> ssl.SSLContext:
        assert self._certificate is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._in_use = context
        self._load(context, self._certificate)
        return context

    def _load(self, context: ssl.SSLContext, files: CertificateFiles) -> None:
        """Into a context in use: new connections show it."""
        self._loaded = files.current()
        context.load_cert_chain(files.cert, files.key, password=files.password)

    async def _keep_fresh(self, files: CertificateFiles) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            if self._in_use is not None and files.current() is not self._loaded:
                with contextlib.suppress(OSError):  # replaced once more in between: the next look finds it
                    self._load(self._in_use, files)


def listener(address: str) -> socket.socket:
    """A bound socket. Raises `FailedPrecondition` that says who has the port."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=2048)
    except (OSError, ValueError) as error:
        raise address_in_use(address, getattr(error, "strerror", "") or "") from None


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the process has two servers, which stop together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield
