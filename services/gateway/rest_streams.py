"""Answers that stream: one JSON object a line, server-sent events where asked, or bytes as they are.

An error before the first message is an ordinary error answer. Later, a line (or event) carries it; a stream of bytes is
broken off, so that half a file never looks like a whole one. The caller's leaving ends the call behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from google.api import httpbody_pb2

from services.common.errors import RegrowError
from services.common.rpc.status import known
from services.gateway.calls import ClientGone, stopping
from services.gateway.http import Exchange, error_line
from services.gateway.methods import Method
from services.gateway.transcoding import as_dict
from services.gateway.upstreams import told

_FIRST_SECONDS = 2.0
"""How long the head of the answer waits for the first message, to tell an error by its status."""
_HEARTBEAT_SECONDS = 15.0
_EVENTS, LINES = b"text/event-stream; charset=utf-8", b"application/x-ndjson"


async def answer_messages(exchange: Exchange, method: Method, upstream: Any) -> None:
    """NDJSON, or server-sent events where `Accept` asks for them."""
    events = "text/event-stream" in exchange.header(b"accept")
    write = _write_event if events else _write_line
    async with _Watched(exchange, upstream) as messages:
        begun = False
        while True:
            content = await messages.next(_HEARTBEAT_SECONDS if begun else _FIRST_SECONDS)
            if isinstance(content, Exception):
                error = known(told(content, method.home), place=method.path)
                if begun:
                    await _write_error(exchange, error, events)
                    await exchange.write(b"", more=False)
                raise error
            if not begun:
                begun = True
                await exchange.start(200, _EVENTS if events else LINES, [(b"x-accel-buffering", b"no")])
            if content is _END:
                break
            if isinstance(content, bytes):
                await write(exchange, method.response.FromString(content))
            elif events:
                await exchange.write(b": still here\n\n")
        await exchange.write(b"", more=False)


async def answer_lines(exchange: Exchange, method: Method, answers: AsyncIterator[Any]) -> None:
    """Messages that this process makes, each as a line when it comes."""
    try:
        async for message in answers:
            if not exchange.started:
                await exchange.start(200, LINES, [(b"x-accel-buffering", b"no")])
            await _write_line(exchange, message)
    except RegrowError as error:
        if exchange.started and not isinstance(error, ClientGone):
            await _write_error(exchange, error, events=False)
            await exchange.write(b"", more=False)
        raise
    await exchange.write(b"", more=False)


async def answer_raw(exchange: Exchange, method: Method, upstream: Any) -> None:
    """The bytes of a stream of `google.api.HttpBody`, with the first one's content type."""
    async with _Watched(exchange, upstream) as messages:
        while True:
            content = await messages.next(None)
            if isinstance(content, Exception):
                # Without its last chunk the answer is visibly incomplete; the server closes the connection.
                raise known(told(content, method.home), place=method.path)
            if not isinstance(content, bytes):
                break
            body = httpbody_pb2.HttpBody.FromString(content)
            if not exchange.started:
                await exchange.start(200, (body.content_type or "application/octet-stream").encode("latin-1", "replace"))
            await exchange.write(body.data)
        if not exchange.started:
            await exchange.start(200, b"application/octet-stream")
        await exchange.write(b"", more=False)


_END = object()


class _Watched:
    """A stream from behind, ended when the caller leaves."""

    def __init__(self, exchange: Exchange, upstream: Any) -> None:
        self._upstream = upstream
        self._messages: AsyncIterator[bytes] = aiter(upstream)
        self._gone = asyncio.ensure_future(exchange.gone())
        self._reading: asyncio.Future[bytes] | None = None

    async def __aenter__(self) -> _Watched:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._gone.cancel()
        self._upstream.cancel()
        if self._reading is not None:
            self._reading.cancel()

    async def next(self, seconds: float | None) -> bytes | Exception | object | None:
        """The next message, `_END`, what the call failed with, or None after `seconds` without any. Raises `ClientGone`."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._messages))
        watched: set[asyncio.Future[Any]] = {self._reading, self._gone}
        await asyncio.wait(watched, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._gone.done():
            raise ClientGone("The caller closed the connection before the stream ended.")
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        if reading.cancelled():
            return stopping()
        error = reading.exception()
        if isinstance(error, StopAsyncIteration):
            return _END
        return error if isinstance(error, Exception) else reading.result()


async def _write_line(exchange: Exchange, message: Any) -> None:
    await exchange.write(orjson.dumps(as_dict(message)) + b"\n")


async def _write_event(exchange: Exchange, message: Any) -> None:
    sequence = getattr(message, "sequence", 0)
    head = b"id: %d\n" % sequence if sequence else b""
    await exchange.write(head + b"data: " + orjson.dumps(as_dict(message)) + b"\n\n")


async def _write_error(exchange: Exchange, error: RegrowError, events: bool) -> None:
    line = error_line(error, exchange.request_id)
    await exchange.write(b"event: error\ndata: " + line + b"\n\n" if events else line + b"\n")
